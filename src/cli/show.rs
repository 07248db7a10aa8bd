//! `hem show`: the whole story, the answer first.

mod follow;

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::Args;

use super::backend::Backend;
use super::exit::{Exit, Failure};
use super::log::{detail, moment};
use super::output::{self, Style, Tint, count, readable, safe, span};
use super::{Global, Outcome, mute};
use crate::control::api::{
    AttemptView, CaughtUpView, EventView, ExecutionStory, FactsView, NotedOnlyView, OutcomeView, OutputView,
    ProcessView, StateView, Story, Text, Today,
};
use crate::event::id::Reference;
use crate::hooks::Origin;

/// Lines shown of one argument, payload or output stream unless `--full` says otherwise.
const SHOWN_LINES: usize = 24;

/// The whole story of an execution, or of an event and all it caused
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hem show last
  hem show 1042.vm-running
  hem show 1042                        # the event and all it caused
  hem show 1042.vm-running --full --json
  hem show 1042.vm-running --follow    # what its script writes, as it writes it

Passwords and tokens inside events are blotted out; --reveal shows them and is written to the audit log.")]
pub(super) struct Arguments {
    /// What to show: 1042.vm-running, 1042, or last
    #[arg(value_name = "ID")]
    reference: String,
    /// Cut nothing
    #[arg(long)]
    full: bool,
    /// Print what its script writes as it comes, until the execution has ended; exit with 1 unless it succeeded
    #[arg(short, long, conflicts_with_all = ["full", "reveal", "offline"])]
    follow: bool,
    /// Show passwords and tokens; written to the audit log
    #[arg(long, conflicts_with = "offline")]
    reveal: bool,
    /// Open the store itself, while no daemon is alive
    #[arg(long)]
    offline: bool,
}

pub(super) async fn run(global: Global, arguments: Arguments) -> Outcome {
    let reference: Reference = arguments
        .reference
        .parse()
        .map_err(|error| Failure::of(Exit::Usage, &error))?;
    if arguments.follow {
        return follow::run(&global, &arguments.reference).await;
    }
    let story = Backend::open(&global, arguments.offline)
        .await?
        .story(&arguments.reference, &reference, arguments.reveal)
        .await?;
    if global.json {
        output::print_json(&story)?;
    } else {
        output::print(&render(&story, &global.style(), arguments.full))?;
    }
    Ok(Exit::Ok)
}

/// Text that grows by indented lines.
struct Page<'a> {
    text: String,
    style: &'a Style,
    /// Lines shown of a block; none for all.
    limit: Option<usize>,
}

impl Page<'_> {
    fn line(&mut self, indent: usize, text: &str) {
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(self.text, "{:indent$}{text}", "");
    }

    fn heading(&mut self, name: &str, rest: &str) {
        let name = self.style.paint(Tint::Strong, name);
        let _ = writeln!(self.text, "\n{name}{rest}");
    }

    fn field(&mut self, name: &str, value: &str) {
        let name = self.style.paint(Tint::Faint, &format!("{name:<10}"));
        let _ = writeln!(self.text, "{}", format!("  {name} {}", safe(value)).trim_end());
    }

    /// A block of text behind a bar, cut after the limit.
    fn block(&mut self, indent: usize, text: &str) {
        let lines: Vec<&str> = text.lines().collect();
        let shown = self.limit.unwrap_or(lines.len()).min(lines.len());
        let bar = self.style.paint(Tint::Faint, "│");
        for line in &lines[..shown] {
            let _ = writeln!(self.text, "{:indent$}{bar} {}", "", safe(line));
        }
        if shown < lines.len() {
            let rest = format!(
                "… {} more lines; --full shows them",
                count((lines.len() - shown) as u64)
            );
            let rest = self.style.paint(Tint::Faint, &rest);
            let _ = writeln!(self.text, "{:indent$}{bar} {rest}", "");
        }
    }
}

/// The story as a page. Everything is shown when `full` is set.
pub(super) fn render(story: &Story, style: &Style, full: bool) -> String {
    let mut page = Page {
        text: String::new(),
        style,
        limit: (!full).then_some(SHOWN_LINES),
    };
    for (index, told) in story.executions.iter().enumerate() {
        if index > 0 {
            page.text.push('\n');
        }
        verdict(&mut page, told);
    }
    match &story.event {
        Some(event) => {
            about_event(&mut page, event, story.executions.is_empty());
            if let Some(caught_up) = &story.caught_up {
                about_catching_up(&mut page, caught_up);
            }
        }
        None => page.heading("Event", "  no longer kept"),
    }
    for told in &story.executions {
        about_hook(&mut page, told);
        let mut shown: Option<&ProcessView> = None;
        for attempt in &told.attempts {
            about_attempt(&mut page, attempt, shown, told.attempts.len());
            shown = shown.or(attempt.process.as_ref());
        }
    }
    page.text
}

/// The answer first: where it stands, why, and what to do next.
fn verdict(page: &mut Page<'_>, told: &ExecutionStory) {
    let execution = &told.execution;
    let state = page.style.paint(
        output::tint_of(&execution.state),
        &execution.state.name().to_uppercase(),
    );
    let attempts = match execution.attempts {
        0 => "before its first attempt".to_owned(),
        1 => "in 1 attempt".to_owned(),
        many => format!("in {many} attempts"),
    };
    let at = moment(&execution.state);
    let when = match &execution.state {
        StateView::Retrying { .. } => attempts,
        StateView::Queued { .. } | StateView::Running { .. } => {
            format!("since {} ({})", page.style.time(at), page.style.ago(at))
        }
        _ => format!("{attempts}, {} ({})", page.style.time(at), page.style.ago(at)),
    };
    let name = page.style.paint(Tint::Strong, &execution.execution);
    page.line(0, &format!("{name}  {state}  {when}"));
    if let Some(detail) = detail(&execution.state, page.style) {
        page.line(2, &detail);
    }
    if let Some(mute) = &execution.held_by {
        let words = mute::in_words(mute, page.style);
        page.line(
            2,
            &format!("held: {} is muted {words}", safe(&mute.scope.in_words())),
        );
        page.line(
            2,
            &format!("let it run: hem unmute {}", safe(&mute::named(&mute.scope))),
        );
    }
    if let Some(ended) = told
        .attempts
        .iter()
        .rev()
        .find_map(|attempt| attempt.ended.as_ref())
        && !matches!(execution.state, StateView::Succeeded { .. })
    {
        let words = output::outcome(&ended.outcome);
        let words = page.style.paint(output::tint_of_outcome(&ended.outcome), &words);
        page.line(2, &format!("last attempt: {words}"));
        if let Some(last) = last_line(&ended.stderr).or_else(|| last_line(&ended.stdout)) {
            page.line(2, &format!("it said: {}", safe(&last)));
        }
    }
    let id = &execution.execution;
    match &execution.state {
        StateView::Failed { .. } | StateView::Cancelled { .. } | StateView::Skipped { .. } => {
            page.line(2, &format!("run it again: hem retry {id}"));
            match told.today {
                Today::Changed => page.line(
                    2,
                    "the hook has changed since: a retry uses today's, `--as-recorded` the one that matched",
                ),
                Today::Removed => page.line(
                    2,
                    "the hook was removed since: only `--as-recorded` can run it again",
                ),
                Today::Same | Today::Unknown => {}
            }
        }
        StateView::Running { .. } => page.line(2, &format!("end it: hem cancel {id}")),
        StateView::Queued { .. } | StateView::Debouncing { .. } | StateView::Retrying { .. } => {
            page.line(2, &format!("do not wait for it: hem cancel {id}"));
        }
        StateView::Succeeded { .. } => {}
    }
}

/// The last line of an output that is not blank.
fn last_line(stream: &OutputView) -> Option<String> {
    [&stream.tail, &stream.head]
        .into_iter()
        .find_map(|part| match part {
            Text::Text(text) => text
                .lines()
                .rev()
                .find(|line| !line.trim().is_empty())
                .map(|line| line.trim().to_owned()),
            Text::Base64(_) => None,
        })
}

fn about_event(page: &mut Page<'_>, event: &EventView, with_payload: bool) {
    page.heading(
        "Event",
        &format!("  {}  {}", event.seq, safe(&event.facts.in_words())),
    );
    page.field("id", &event.id);
    page.field("about", event.subject.as_deref().unwrap_or("-"));
    page.field("source", &event.source);
    let received = format!(
        "{} ({})",
        page.style.time(event.received),
        page.style.ago(event.received)
    );
    page.field("received", &received);
    page.field("key", &event.key);
    if let FactsView::State {
        previous_state,
        previous_lcm_state,
        host,
        ..
    } = &event.facts
    {
        let before: Vec<_> = [previous_state, previous_lcm_state]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        if !before.is_empty() {
            page.field("before", &before.join("/"));
        }
        if let Some(host) = host {
            page.field("host", host);
        }
    }
    if event.ambiguous {
        page.field(
            "ambiguous",
            "a value in it imitates the envelope; hooks see HEM_AMBIGUOUS=1",
        );
    }
    if event.synthesised {
        let what = match event.facts {
            FactsView::State { .. } => {
                "synthesised: raised by hem after a gap, from what the controller said of the resource"
            }
            _ => "it was not sent by the controller",
        };
        page.field("made here", what);
    }
    if event.hooks.is_empty() {
        page.field("caused", &format!("nothing; `hem match {}` says why", event.seq));
    } else {
        page.field("caused", &event.hooks.join(", "));
    }
    page.field("payload", &format!("{} bytes", count(event.payload_len)));
    if with_payload && let Some(payload) = &event.payload {
        let text = match payload {
            Text::Text(text) => laid_out(text).unwrap_or_else(|| text.clone()),
            Text::Base64(_) => readable(payload).into_owned(),
        };
        page.block(2, &text);
    }
}

/// What became of a gap.
fn about_catching_up(page: &mut Page<'_>, caught_up: &CaughtUpView) {
    page.heading("Caught up", "");
    let result = match (caught_up.noted_only, caught_up.finished) {
        (_, None) => "not yet: what was missed is still to be asked for".to_owned(),
        (Some(NotedOnlyView::First), _) => {
            "nothing is raised: no states were known before; the present ones are noted".to_owned()
        }
        (Some(NotedOnlyView::OtherLed), _) => {
            "nothing is raised: another front-end led meanwhile; the present states are noted".to_owned()
        }
        (Some(NotedOnlyView::TooOld), _) => {
            "nothing is raised: the gap was longer than `max_gap`; the present states are noted".to_owned()
        }
        (None, Some(_)) => "the present state of everything that changed is known".to_owned(),
    };
    page.field("result", &result);
    for (number, what) in [
        (caught_up.raised, "raised"),
        (caught_up.live, "not raised: a live event came first"),
        (caught_up.unwanted, "not raised: no hook asks for catch-up"),
    ] {
        if number > 0 {
            let noun = if number == 1 { "state" } else { "states" };
            page.field("", &format!("{} {noun} {what}", count(number)));
        }
    }
    if caught_up.failures > 0 {
        let last = caught_up.last_error.as_ref().map_or_else(String::new, |error| {
            format!(", last {}: {}", page.style.time(error.at), error.message)
        });
        page.field("failed", &format!("{} times{last}", count(caught_up.failures)));
    }
    if let Some(finished) = caught_up.finished {
        let finished = format!("{} ({})", page.style.time(finished), page.style.ago(finished));
        page.field("finished", &finished);
    }
}

fn about_hook(page: &mut Page<'_>, told: &ExecutionStory) {
    let execution = &told.execution;
    page.heading("Hook", &format!("  {}", execution.hook));
    page.field("matched", &execution.why);
    if let Some(definition) = &told.definition {
        if definition.file == Origin::POOL {
            page.field("declared", "by oned");
        } else {
            page.field("file", &format!("{}:{}", definition.file, definition.line));
        }
        page.field("sha256", &definition.file_sha256);
    }
    let today = match told.today {
        Today::Same => "  (in force today)",
        Today::Changed => "  (another one is in force today)",
        Today::Removed => "  (the hook was removed)",
        Today::Unknown => "",
    };
    page.field("version", &format!("{}{today}", execution.version));
    if let Some(repeated) = &execution.retry_of {
        page.field("repeats", repeated);
    }
}

fn about_attempt(page: &mut Page<'_>, attempt: &AttemptView, shown: Option<&ProcessView>, all: usize) {
    let (tint, words) = match &attempt.ended {
        Some(ended) => (
            output::tint_of_outcome(&ended.outcome),
            output::outcome(&ended.outcome),
        ),
        None => (Tint::Busy, "under way".to_owned()),
    };
    let words = page.style.paint(tint, &words);
    page.heading("Attempt", &format!("  {} of {all}  {words}", attempt.number));
    page.field("cause", &output::cause(&attempt.cause));
    let released = page.style.time(attempt.released);
    page.field("released", &released);
    if let Some(process) = &attempt.process {
        about_process(page, process, shown);
    }
    if let Some(ended) = &attempt.ended {
        let took = attempt.process.as_ref().map_or_else(String::new, |process| {
            format!(", after {}", span(ended.at.0.since(process.at.0)))
        });
        let at = page.style.time(ended.at);
        page.field("ended", &format!("{at}{took}"));
        if matches!(ended.outcome, OutcomeView::StartFailed { .. }) {
            return;
        }
        for (name, stream) in [("stdout", &ended.stdout), ("stderr", &ended.stderr)] {
            if ended.outputs_pruned && stream.total > 0 {
                let gone = format!("{} bytes, not kept any more (retention)", count(stream.total));
                page.field(name, &gone);
            } else {
                about_output(page, name, stream);
            }
        }
    }
}

fn about_process(page: &mut Page<'_>, process: &ProcessView, shown: Option<&ProcessView>) {
    let started = format!(
        "{}, process {}, as {}",
        page.style.time(process.at),
        process.pid,
        user(process.uid)
    );
    page.field("started", &started);
    if shown.is_some_and(|first| first.version != process.version) {
        page.field("version", &process.version);
    }
    let files_differ = shown.is_none_or(|first| first.files != process.files);
    for file in process.files.iter().filter(|_| files_differ) {
        page.field(
            "file",
            &format!(
                "{}  {} bytes  sha256 {}",
                file.path,
                count(file.size),
                file.sha256
            ),
        );
    }
    if shown.is_some_and(|first| same_but_attempt(first, process)) {
        page.field("argv", "as in the first attempt, and the environment too");
        return;
    }
    if let Some(directory) = &process.directory {
        page.field("cwd", directory);
    }
    page.field("argv", "");
    for (index, argument) in process.argv.iter().enumerate() {
        about_argument(page, index, argument);
    }
    page.field("env", "");
    for (name, value) in &process.environment {
        page.line(4, &format!("{}={}", safe(name), safe(value)));
    }
}

fn user(uid: u32) -> String {
    nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid))
        .ok()
        .flatten()
        .map_or_else(|| format!("uid {uid}"), |user| user.name)
}

/// Whether two processes were set up alike: `HEM_ATTEMPT` differs by nature.
fn same_but_attempt(one: &ProcessView, other: &ProcessView) -> bool {
    let environment = |process: &ProcessView| -> Vec<(String, String)> {
        process
            .environment
            .iter()
            .filter(|(name, _)| name != "HEM_ATTEMPT")
            .cloned()
            .collect()
    };
    one.argv == other.argv && one.directory == other.directory && environment(one) == environment(other)
}

/// One argument; base64 of a document is shown as the document.
fn about_argument(page: &mut Page<'_>, index: usize, argument: &str) {
    match decoded(argument) {
        Some(document) => {
            page.line(
                4,
                &format!(
                    "[{index}] a document of {} bytes, shown decoded:",
                    count(document.len() as u64)
                ),
            );
            let text = laid_out(&document).unwrap_or(document);
            page.block(8, &text);
        }
        None => {
            let mut lines = argument.lines();
            let first = lines.next().unwrap_or_default();
            page.line(4, &format!("[{index}] {}", safe(first)));
            for line in lines {
                page.line(8, &safe(line));
            }
        }
    }
}

/// The document that an argument carries, most of the time in base64.
fn decoded(argument: &str) -> Option<String> {
    // Where something in it is blotted out, it comes decoded already.
    if is_document(argument) {
        return Some(argument.to_owned());
    }
    if argument.len() < 8 || argument.starts_with('/') {
        return None;
    }
    let compact: String = argument.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let bytes = BASE64.decode(compact).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    is_document(&text).then_some(text)
}

fn is_document(text: &str) -> bool {
    text.trim_start().starts_with(['<', '{', '[']) && laid_out(text).is_some()
}

/// A document with one element or member a line; none when it cannot be read.
fn laid_out(document: &str) -> Option<String> {
    if document.trim_start().starts_with(['{', '[']) {
        let value: serde_json::Value = serde_json::from_str(document).ok()?;
        return serde_json::to_string_pretty(&value).ok();
    }
    let mut reader = quick_xml::Reader::from_str(document);
    reader.config_mut().trim_text(true);
    let mut writer = quick_xml::Writer::new_with_indent(Vec::new(), b' ', 2);
    loop {
        match reader.read_event().ok()? {
            quick_xml::events::Event::Eof => break,
            event => writer.write_event(event).ok()?,
        }
    }
    String::from_utf8(writer.into_inner()).ok()
}

fn about_output(page: &mut Page<'_>, name: &str, stream: &OutputView) {
    if stream.total == 0 {
        page.field(name, "nothing");
        return;
    }
    page.field(name, &format!("{} bytes", count(stream.total)));
    page.block(4, &readable(&stream.head));
    if stream.cut > 0 {
        let cut = format!("✂ {} bytes were not kept ✂", count(stream.cut));
        let cut = page.style.paint(Tint::Busy, &cut);
        page.line(4, &cut);
        page.block(4, &readable(&stream.tail));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::control::api::{
        ActorView, CauseView, DefinitionView, EndedView, ExecutionView, FactsView, FileView, Time,
    };
    use crate::event::time::Timestamp;

    /// That many milliseconds after 2026-11-22T02:10:03Z.
    pub(in crate::cli) fn time(millis: i64) -> Time {
        Time(Timestamp::from_millis(1_795_313_403_000 + millis))
    }

    pub(in crate::cli) fn event() -> EventView {
        EventView {
            seq: 1042,
            id: "k3vd-1042".to_owned(),
            source: "opennebula".to_owned(),
            key: "EVENT STATE VM/ACTIVE/RUNNING/12".to_owned(),
            subject: Some("vm/12".to_owned()),
            received: time(0),
            facts: FactsView::State {
                resource: "VM".to_owned(),
                id: Some("12".to_owned()),
                state: "ACTIVE".to_owned(),
                lcm_state: Some("RUNNING".to_owned()),
                previous_state: Some("ACTIVE".to_owned()),
                previous_lcm_state: Some("BOOT".to_owned()),
                host: Some("node1".to_owned()),
            },
            ambiguous: false,
            synthesised: false,
            payload_len: 2312,
            hooks: vec!["vm-running".to_owned()],
            payload: Some(Text::Text(
                "<HOOK_MESSAGE><HOOK_TYPE>STATE</HOOK_TYPE><VM><ID>12</ID></VM></HOOK_MESSAGE>".to_owned(),
            )),
        }
    }

    pub(in crate::cli) fn execution() -> ExecutionView {
        ExecutionView {
            held_by: None,
            execution: "1042.vm-running".to_owned(),
            id: "k3vd-1042.vm-running".to_owned(),
            event: 1042,
            hook: "vm-running".to_owned(),
            version: "ab".repeat(32),
            subject: Some("vm/12".to_owned()),
            source: "opennebula".to_owned(),
            accepted: time(2),
            why: "state VM ACTIVE/RUNNING".to_owned(),
            retry_of: None,
            state: StateView::Failed { at: time(6120) },
            attempts: 2,
            budget_used: 2,
            interruptions: 0,
            arguments: None,
        }
    }

    pub(in crate::cli) fn definition() -> DefinitionView {
        DefinitionView {
            version: "ab".repeat(32),
            text: "name: vm-running\ntrigger:\n  state: { resource: VM, on: RUNNING }\ncommand: dns/register.sh\n"
                .to_owned(),
            file: "dns.yaml".to_owned(),
            line: 1,
            file_sha256: "cd".repeat(32),
        }
    }

    fn stream(text: &str) -> OutputView {
        OutputView {
            head: Text::Text(text.to_owned()),
            tail: Text::Text(String::new()),
            cut: 0,
            total: text.len() as u64,
        }
    }

    fn process(attempt: u32) -> ProcessView {
        ProcessView {
            pid: 4000 + attempt,
            at: time(i64::from(attempt) * 3000),
            uid: 4_000_000_000,
            version: "ab".repeat(32),
            hook_file: "dns.yaml".to_owned(),
            hook_file_sha256: "cd".repeat(32),
            argv: vec![
                "/etc/hem/scripts/dns/register.sh".to_owned(),
                BASE64.encode("<VM><ID>12</ID><NAME>web-1</NAME></VM>"),
                "web-1".to_owned(),
            ],
            environment: vec![
                ("HEM_ATTEMPT".to_owned(), attempt.to_string()),
                ("HEM_HOOK".to_owned(), "vm-running".to_owned()),
            ],
            directory: Some("/etc/hem/scripts".to_owned()),
            files: vec![FileView {
                path: "/etc/hem/scripts/dns/register.sh".to_owned(),
                sha256: "ef".repeat(32),
                size: 512,
            }],
        }
    }

    fn story() -> Story {
        let first = AttemptView {
            number: 1,
            cause: CauseView::Event,
            released: time(2),
            process: Some(process(1)),
            ended: Some(EndedView {
                at: time(3012),
                outcome: OutcomeView::TimedOut {
                    after_ms: 30_000,
                    killed: true,
                },
                stdout: OutputView {
                    head: Text::Text("connecting\n".to_owned()),
                    tail: Text::Text("still connecting\n".to_owned()),
                    cut: 123_456,
                    total: 123_484,
                },
                stderr: stream(""),
                outputs_pruned: false,
            }),
        };
        let second = AttemptView {
            number: 2,
            cause: CauseView::Operator {
                actor: ActorView::User {
                    uid: 1000,
                    name: Some("ann".to_owned()),
                },
                as_recorded: false,
            },
            released: time(6000),
            process: Some(process(2)),
            ended: Some(EndedView {
                at: time(6120),
                outcome: OutcomeView::Exited { code: 1 },
                stdout: stream("connecting\n"),
                stderr: stream("\x1b[31mdns: server refused\x1b[0m\n"),
                outputs_pruned: false,
            }),
        };
        Story {
            event: Some(event()),
            executions: vec![ExecutionStory {
                execution: execution(),
                definition: Some(definition()),
                today: Today::Changed,
                attempts: vec![first, second],
            }],
            caught_up: None,
        }
    }

    #[test]
    fn the_whole_story_has_the_answer_first() {
        insta::assert_snapshot!(render(&story(), &output::tests::fixed(), false));
    }

    #[test]
    fn an_event_that_caused_nothing_shows_its_payload() {
        let story = Story {
            event: Some(EventView {
                hooks: Vec::new(),
                ..event()
            }),
            executions: Vec::new(),
            caught_up: None,
        };
        insta::assert_snapshot!(render(&story, &output::tests::fixed(), false));
    }

    #[test]
    fn long_output_is_cut_unless_all_is_asked_for() {
        let mut story = story();
        let long: String = (1..=100).map(|line| format!("line {line}\n")).collect();
        if let Some(ended) = &mut story.executions[0].attempts[1].ended {
            ended.stdout = stream(&long);
        }
        let style = output::tests::fixed();
        let short = render(&story, &style, false);
        assert!(short.contains("… 76 more lines; --full shows them") && !short.contains("line 25\n"));
        assert!(render(&story, &style, true).contains("line 100\n"));
    }

    #[test]
    fn only_documents_are_taken_for_base64() {
        assert!(decoded("register.sh").is_none());
        assert!(decoded("deadbeef").is_none());
        assert_eq!(
            decoded(&BASE64.encode("<VM/> text")),
            Some("<VM/> text".to_owned())
        );
    }
}
