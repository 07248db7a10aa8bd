//! `hem show --follow`: what an execution's scripts write, as they write it, until it has come to its end.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{Page, verdict};
use crate::cli::exit::{Exit, Failure};
use crate::cli::log::detail;
use crate::cli::output::{self, Style, Tint, count, safe_line, span};
use crate::cli::{Global, Outcome};
use crate::control::api::{
    AttemptView, ExecutionFilter, ExecutionStory, FeedLine, LiveOutputView, OutputView, StateView, Story,
    Text,
};
use crate::control::client::Lines;

/// How often a script that runs is asked for what it has written.
const LOOK: Duration = Duration::from_millis(300);

/// Prints until the execution has come to its end; exits with 1 unless it succeeded.
pub(super) async fn run(global: &Global, reference: &str) -> Outcome {
    let client = global.client().await?;
    // Followed first and asked then: no end is missed.
    let mut feed = client
        .follow_executions(&ExecutionFilter {
            limit: Some(0),
            ..ExecutionFilter::default()
        })
        .await?;
    let mut story = client.story(reference, false).await?;
    let id = only(reference, &story)?;
    let mut teller = Teller::new(global.style());
    loop {
        let told = the_one(&story)?;
        if !global.json {
            output::print(&teller.go_on(told))?;
        }
        if told.execution.state.is_settled() {
            break;
        }
        let looks = !global.json && matches!(told.execution.state, StateView::Running { .. });
        while !changed(&mut feed, &id, looks).await? {
            output::print(&teller.so_far(&client.output(&id).await?))?;
        }
        story = client.story(&id, false).await?;
    }
    let told = the_one(&story)?;
    if global.json {
        output::print_json(&story)?;
    } else {
        output::print(&ending(told, &global.style()))?;
    }
    Ok(match told.execution.state {
        StateView::Succeeded { .. } => Exit::Ok,
        _ => Exit::Failed,
    })
}

/// Waits until the execution changed; where `looks` is set, only until it is time to look at what its script wrote.
async fn changed(feed: &mut Lines<FeedLine>, id: &str, looks: bool) -> Result<bool, Failure> {
    let news = async {
        loop {
            match feed.next().await? {
                Some(FeedLine::Execution(execution)) if execution.execution == id => return Ok(true),
                Some(FeedLine::Skipped { .. }) => return Ok(true),
                Some(FeedLine::Execution(_) | FeedLine::Event(_)) => {}
                None => {
                    return Err(Failure::new(
                        Exit::NotReachable,
                        "the daemon ended before the execution did; it goes on when it is back",
                    ));
                }
            }
        }
    };
    if !looks {
        return news.await;
    }
    tokio::time::timeout(LOOK, news).await.unwrap_or(Ok(false))
}

/// The id of the one execution that is meant.
fn only(reference: &str, story: &Story) -> Result<String, Failure> {
    match &story.executions[..] {
        [one] => Ok(one.execution.execution.clone()),
        [] => Err(Failure::new(
            Exit::Failed,
            format!("`{reference}` caused nothing that could be followed"),
        )),
        several => {
            let ids: Vec<&str> = several.iter().map(|one| &*one.execution.execution).collect();
            Err(Failure::new(
                Exit::Usage,
                format!(
                    "`{reference}` caused {} executions, and one can be followed",
                    ids.len()
                ),
            )
            .with_hint(format!("name one of {}", ids.join(", "))))
        }
    }
}

fn the_one(story: &Story) -> Result<&ExecutionStory, Failure> {
    let gone = || Failure::new(Exit::Failed, "the execution is no longer kept");
    story.executions.first().ok_or_else(gone)
}

/// The outcome, with what to do next.
fn ending(told: &ExecutionStory, style: &Style) -> String {
    let mut page = Page {
        text: "\n".to_owned(),
        style,
        limit: None,
    };
    verdict(&mut page, told);
    page.text
}

/// Tells an execution's way; each line once.
struct Teller {
    style: Style,
    /// The attempt that is told of; what came before it has been told.
    attempt: u32,
    stdout: Told,
    stderr: Told,
    /// What it was last said to wait for.
    waits: Option<String>,
}

impl Teller {
    fn new(style: Style) -> Self {
        Self {
            style,
            attempt: 0,
            stdout: Told::default(),
            stderr: Told::default(),
            waits: None,
        }
    }

    /// What is new in the record.
    fn go_on(&mut self, told: &ExecutionStory) -> String {
        let mut text = String::new();
        let told_before = self.attempt;
        for attempt in told.attempts.iter().filter(|one| one.number >= told_before) {
            self.begin(attempt.number, &mut text);
            if attempt.ended.is_some() {
                self.end(attempt, &mut text);
            }
        }
        let waits = match &told.execution.state {
            state if state.is_settled() => None,
            StateView::Running { .. } => None,
            state => Some(match detail(state, &self.style) {
                Some(detail) => format!("{}: {detail}", state.name()),
                None => state.name().to_owned(),
            }),
        };
        if let Some(waits) = waits.as_ref().filter(|_| waits != self.waits) {
            text.push_str(&self.style.paint(Tint::Faint, waits));
            text.push('\n');
        }
        self.waits = waits;
        text
    }

    /// What is new of what a script that runs has written.
    fn so_far(&mut self, output: &LiveOutputView) -> String {
        let mut text = String::new();
        if let Some(attempt) = output
            .attempt
            .filter(|attempt| *attempt >= self.attempt && output.running)
        {
            self.begin(attempt, &mut text);
            self.write(&output.stdout, &output.stderr, false, &mut text);
        }
        text
    }

    fn begin(&mut self, attempt: u32, text: &mut String) {
        if attempt == self.attempt {
            return;
        }
        self.attempt = attempt;
        (self.stdout, self.stderr) = Default::default();
        let heading = format!("Attempt {attempt}");
        text.push_str(&self.style.paint(Tint::Strong, &heading));
        text.push('\n');
    }

    fn end(&mut self, attempt: &AttemptView, text: &mut String) {
        let Some(ended) = &attempt.ended else { return };
        if !ended.outputs_pruned {
            self.write(&ended.stdout, &ended.stderr, true, text);
        }
        let took = attempt.process.as_ref().map_or_else(String::new, |process| {
            format!(", after {}", span(ended.at.0.since(process.at.0)))
        });
        let words = output::outcome(&ended.outcome);
        let words = self.style.paint(output::tint_of_outcome(&ended.outcome), &words);
        text.push_str(&format!("Attempt {}: {words}{took}\n", attempt.number));
        // It is not told of again.
        self.attempt = attempt.number + 1;
        (self.stdout, self.stderr) = Default::default();
    }

    fn write(&mut self, stdout: &OutputView, stderr: &OutputView, is_all: bool, text: &mut String) {
        for (name, tint, told, view) in [
            ("stdout │", Tint::Faint, &mut self.stdout, stdout),
            ("stderr │", Tint::Busy, &mut self.stderr, stderr),
        ] {
            let bar = self.style.paint(tint, name);
            for piece in told.news(view, is_all) {
                match piece {
                    Piece::Lines(lines) => {
                        for line in lines.lines() {
                            text.push_str(&format!("{bar} {}\n", safe_line(line)));
                        }
                    }
                    Piece::Cut(bytes) => {
                        let cut = format!("✂ {} bytes were not kept ✂", count(bytes));
                        text.push_str(&format!("{bar} {}\n", self.style.paint(Tint::Busy, &cut)));
                    }
                }
            }
        }
    }
}

/// How much of a stream was told.
#[derive(Debug, Default)]
struct Told {
    /// Bytes of it, those included that were not kept.
    bytes: u64,
    /// What of it was told of its beginning: more of it may be blotted out once the rest of it is there.
    head: Vec<u8>,
}

/// Something new of a stream.
#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Lines(String),
    /// So many bytes were not kept.
    Cut(u64),
}

impl Told {
    /// What is new: whole lines, as long as there may be more of the last one.
    fn news(&mut self, view: &OutputView, is_all: bool) -> Vec<Piece> {
        let (head, tail) = (bytes(&view.head), bytes(&view.tail));
        let tail_from = head.len() as u64 + view.cut;
        // The last line without an end waits for its end.
        let held_back = |part: &[u8]| match part.iter().rposition(|byte| *byte == b'\n') {
            _ if is_all => part.len(),
            Some(end) => end + 1,
            None => 0,
        };
        let mut news = Vec::new();
        let is_cut = view.cut > 0 || !tail.is_empty();
        let head_until = if is_cut { head.len() } else { held_back(&head) };
        if !head.starts_with(&self.head) {
            let same = head
                .iter()
                .zip(&self.head)
                .take_while(|(one, other)| one == other)
                .count();
            let line = head[..same]
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |end| end + 1);
            self.bytes = self.bytes.min(line as u64);
        }
        let from = usize::try_from(self.bytes).unwrap_or(usize::MAX);
        if let Some(new) = head.get(from..head_until).filter(|new| !new.is_empty()) {
            news.push(Piece::Lines(String::from_utf8_lossy(new).into_owned()));
            self.bytes = head_until as u64;
        }
        self.head = head[..head_until.min(head.len())].to_vec();
        if is_cut {
            if self.bytes < tail_from {
                news.push(Piece::Cut(tail_from - self.bytes));
                self.bytes = tail_from;
            }
            let from = usize::try_from(self.bytes - tail_from).unwrap_or(usize::MAX);
            let until = held_back(&tail);
            if let Some(new) = tail.get(from..until).filter(|new| !new.is_empty()) {
                news.push(Piece::Lines(String::from_utf8_lossy(new).into_owned()));
                self.bytes = tail_from + until as u64;
            }
        }
        news
    }
}

fn bytes(text: &Text) -> Cow<'_, [u8]> {
    match text {
        Text::Text(text) => Cow::Borrowed(text.as_bytes()),
        Text::Base64(text) => BASE64.decode(text).unwrap_or_default().into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A stream of which the first `head` bytes and the last `tail` are kept.
    fn kept(written: &str, head: usize, tail: usize) -> OutputView {
        let total = written.len();
        let head = head.min(total);
        let tail = tail.min(total - head);
        OutputView {
            head: Text::Text(written[..head].to_owned()),
            tail: Text::Text(written[total - tail..].to_owned()),
            cut: (total - head - tail) as u64,
            total: total as u64,
        }
    }

    fn lines(pieces: Vec<Piece>) -> String {
        let pieces = pieces.into_iter();
        pieces
            .map(|piece| match piece {
                Piece::Lines(lines) => lines,
                Piece::Cut(bytes) => format!("<{bytes}>"),
            })
            .collect()
    }

    #[test]
    fn a_line_is_told_when_it_is_whole_or_nothing_more_comes() {
        let mut told = Told::default();
        assert_eq!(lines(told.news(&kept("one\ntw", 100, 100), false)), "one\n");
        assert_eq!(told.news(&kept("one\ntwo", 100, 100), false), []);
        assert_eq!(lines(told.news(&kept("one\ntwo\nth", 100, 100), false)), "two\n");
        assert_eq!(
            lines(told.news(&kept("one\ntwo\nthree", 100, 100), true)),
            "three"
        );
    }

    #[test]
    fn what_was_not_kept_is_said_where_it_was() {
        let mut told = Told::default();
        assert_eq!(lines(told.news(&kept("aaa\nbbb\n", 4, 4), false)), "aaa\nbbb\n");
        let much = "aaa\nbbb\nccc\nddd\neee\n";
        assert_eq!(lines(told.news(&kept(much, 4, 4), false)), "<8>eee\n");
        assert_eq!(told.news(&kept(much, 4, 4), true), []);
    }

    #[test]
    fn a_line_that_is_blotted_out_later_on_is_told_again_as_it_reads_then() {
        let mut told = Told::default();
        let news = told.news(&kept("a\n<PASSWORD>\nopen", 100, 0), false);
        assert_eq!(lines(news), "a\n<PASSWORD>\n");
        let blotted = kept("a\n[redacted]\nend\n", 100, 0);
        assert_eq!(lines(told.news(&blotted, false)), "[redacted]\nend\n");
    }

    proptest! {
        #[test]
        fn every_line_is_told_once_and_in_order(
            written in "[ab\n]{0,60}",
            looks in proptest::collection::vec(0..60_usize, 0..10),
            head in 0..40_usize,
            tail in 0..40_usize,
        ) {
            let mut looks = looks;
            looks.sort_unstable();
            let mut told = Told::default();
            let mut all = Vec::new();
            for look in looks.into_iter().filter(|look| *look < written.len()) {
                all.extend(told.news(&kept(&written[..look], head, tail), false));
            }
            all.extend(told.news(&kept(&written, head, tail), true));
            let mut at = 0;
            for piece in all {
                match piece {
                    Piece::Lines(lines) => {
                        prop_assert_eq!(&written[at..at + lines.len()], lines.as_str());
                        at += lines.len();
                    }
                    Piece::Cut(bytes) => {
                        prop_assert!(head + tail < written.len());
                        at += usize::try_from(bytes).expect("a small number");
                    }
                }
            }
            prop_assert_eq!(at, written.len());
        }
    }
}
