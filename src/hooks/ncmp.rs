//! `trigger: { ncmp: … }`: what a hook asks of events of ONAP NCMP.

use super::Trigger;
use super::compile::Compiler;
use super::own::Patterns;
use super::raw::RawNcmpTrigger;
use super::tree::At;
use super::trigger::Vocabulary;
use crate::event::ncmp::{EVENTS, NcmpRecord, STATES};

/// `trigger: { ncmp: … }`. Names are compared exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NcmpTrigger {
    /// Only events of the source with this name.
    pub source: Option<String>,
    /// What became of the CM handle, or the last word of another event's type.
    pub event: Patterns,
    /// The CM handles.
    pub cm_handle: Patterns,
    /// The states the CM handle is in now.
    pub state: Patterns,
    /// The states it was in before.
    pub old_state: Patterns,
    /// Whether its data is synchronised; either, or not told, when unset.
    pub data_sync: Option<bool>,
    /// The topics.
    pub topic: Patterns,
}

impl NcmpTrigger {
    /// What is asked for, by name, with what the record says of it.
    pub fn asked<'a>(
        &'a self,
        told: Option<&'a NcmpRecord>,
    ) -> impl Iterator<Item = (&'static str, &'a Patterns, Option<&'a str>)> {
        [
            ("event", &self.event, told.map(|told| told.event.as_str())),
            (
                "cm_handle",
                &self.cm_handle,
                told.and_then(|told| told.cm_handle.as_deref()),
            ),
            ("state", &self.state, told.and_then(|told| told.state.as_deref())),
            (
                "old_state",
                &self.old_state,
                told.and_then(|told| told.old_state.as_deref()),
            ),
            ("topic", &self.topic, told.map(|told| told.topic.as_str())),
        ]
        .into_iter()
        .filter(|(_, patterns, _)| **patterns != Patterns::Any)
    }
}

impl Compiler<'_> {
    pub(super) fn ncmp_trigger(
        &mut self,
        raw: At<RawNcmpTrigger>,
        source: Option<String>,
    ) -> Option<Trigger> {
        let mark = raw.mark;
        let raw = raw.value;
        if raw.event.is_none() {
            self.missing(
                mark,
                "`ncmp` needs `event`",
                "write what becomes of a CM handle, `event: create`; `any` for all",
            );
            return None;
        }
        Some(Trigger::Ncmp(NcmpTrigger {
            source,
            event: self.words_of(raw.event, "event", &EVENTS, Vocabulary::Open),
            cm_handle: self.patterns(raw.cm_handle, "CM handle"),
            state: self.words_of(raw.state, "state", &STATES, Vocabulary::Closed),
            old_state: self.words_of(raw.old_state, "state", &STATES, Vocabulary::Closed),
            data_sync: raw.data_sync,
            topic: self.patterns(raw.topic, "topic"),
        }))
    }
}
