//! How it is stored what is known of a controller's resources, and what became of a gap.

use serde::{Deserialize, Serialize};

use super::{FormatError, read, write};
use crate::engine::known_states::{Baseline, CatchUpTotals, GapStory, NotedOnly, OpenGap};
use crate::event::id::Seq;
use crate::event::opennebula::pool::StateNames;
use crate::event::time::Timestamp;

#[derive(Serialize, Deserialize)]
struct StoredNames {
    state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lcm_state: Option<String>,
}

pub(in crate::store) fn write_state_names(names: &StateNames) -> Vec<u8> {
    write(&StoredNames {
        state: names.state.clone(),
        lcm_state: names.lcm_state.clone(),
    })
}

pub(in crate::store) fn read_state_names(bytes: &[u8]) -> Result<StateNames, FormatError> {
    let StoredNames { state, lcm_state } = read(bytes)?;
    Ok(StateNames { state, lcm_state })
}

#[derive(Serialize, Deserialize)]
struct StoredBaseline {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    heard: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    open: Vec<StoredOpenGap>,
    raised: u64,
    live: u64,
    unwanted: u64,
    rebuilt: u64,
}

/// Its beginning, and the number of the event that records it.
#[derive(Serialize, Deserialize)]
struct StoredOpenGap(i64, Option<u64>);

pub(in crate::store) fn write_baseline(baseline: &Baseline) -> Vec<u8> {
    let CatchUpTotals {
        raised,
        live,
        unwanted,
        rebuilt,
    } = baseline.totals;
    let open = baseline.open.iter().map(|gap| {
        let record = gap.record.map(|record| record.0);
        StoredOpenGap(gap.from.as_millis(), record)
    });
    write(&StoredBaseline {
        heard: baseline.heard.map(Timestamp::as_millis),
        open: open.collect(),
        raised,
        live,
        unwanted,
        rebuilt,
    })
}

pub(in crate::store) fn read_baseline(bytes: &[u8]) -> Result<Baseline, FormatError> {
    let StoredBaseline {
        heard,
        open,
        raised,
        live,
        unwanted,
        rebuilt,
    } = read(bytes)?;
    let open = open.into_iter().map(|StoredOpenGap(from, record)| OpenGap {
        from: Timestamp::from_millis(from),
        record: record.map(Seq),
    });
    Ok(Baseline {
        heard: heard.map(Timestamp::from_millis),
        open: open.collect(),
        totals: CatchUpTotals {
            raised,
            live,
            unwanted,
            rebuilt,
        },
    })
}

#[derive(Serialize, Deserialize)]
struct StoredStory {
    raised: u64,
    live: u64,
    unwanted: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    noted_only: Option<StoredNotedOnly>,
    failures: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_error: Option<(i64, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    finished: Option<i64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredNotedOnly {
    First,
    OtherLed,
    TooOld,
}

pub(in crate::store) fn write_gap_story(story: &GapStory) -> Vec<u8> {
    let last_error = story.last_error.as_ref();
    write(&StoredStory {
        raised: story.raised,
        live: story.live,
        unwanted: story.unwanted,
        noted_only: story.noted_only.map(|why| match why {
            NotedOnly::First => StoredNotedOnly::First,
            NotedOnly::OtherLed => StoredNotedOnly::OtherLed,
            NotedOnly::TooOld => StoredNotedOnly::TooOld,
        }),
        failures: story.failures,
        last_error: last_error.map(|(at, why)| (at.as_millis(), why.clone())),
        finished: story.finished.map(Timestamp::as_millis),
    })
}

pub(in crate::store) fn read_gap_story(bytes: &[u8]) -> Result<GapStory, FormatError> {
    let stored: StoredStory = read(bytes)?;
    let last_error = stored.last_error;
    Ok(GapStory {
        raised: stored.raised,
        live: stored.live,
        unwanted: stored.unwanted,
        noted_only: stored.noted_only.map(|why| match why {
            StoredNotedOnly::First => NotedOnly::First,
            StoredNotedOnly::OtherLed => NotedOnly::OtherLed,
            StoredNotedOnly::TooOld => NotedOnly::TooOld,
        }),
        failures: stored.failures,
        last_error: last_error.map(|(at, why)| (Timestamp::from_millis(at), why)),
        finished: stored.finished.map(Timestamp::from_millis),
    })
}
