//! What must not be seen is blotted out before anything leaves the store.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::api::{
    AttemptView, AuditView, DefinitionView, EventView, ExecutionView, FactsView, HookView, MuteView,
    OutcomeView, OutputView, ScopeView, StatusView, Text,
};
use crate::config::control::Role;
use crate::engine::execution::Execution;
use crate::event::redaction::Redaction;
use crate::event::{Event, Subject};
use crate::store::{EventQuery, ExecutionQuery};

/// Blots out passwords and tokens; or nothing, for a caller who asked to see everything.
#[derive(Debug, Clone)]
pub struct Veil(Option<Arc<Redaction>>);

impl Veil {
    /// Blots out what `redaction` hides.
    pub fn new(redaction: Redaction) -> Self {
        Self(Some(Arc::new(redaction)))
    }

    /// Blots out nothing.
    pub const fn lifted() -> Self {
        Self(None)
    }

    /// Whether nothing is blotted out.
    pub(super) const fn is_lifted(&self) -> bool {
        self.0.is_none()
    }

    /// Whether somebody of this role may find an event by what they ask for. Who may not see what is redacted must not find out by
    /// asking for it either: whether something comes would tell the next letter.
    pub(super) fn lets_find_event(&self, role: Role, query: &EventQuery, event: &Event) -> bool {
        role >= Role::Operator
            || (query
                .key
                .as_ref()
                .is_none_or(|part| self.text(&event.key).contains(part))
                && self.shows(query.subject.as_deref(), event.subject.as_ref()))
    }

    /// The same for an execution.
    pub(super) fn lets_find_execution(
        &self,
        role: Role,
        query: &ExecutionQuery,
        execution: &Execution,
    ) -> bool {
        role >= Role::Operator || self.shows(query.subject.as_deref(), execution.subject.as_ref())
    }

    fn shows(&self, wanted: Option<&str>, subject: Option<&Subject>) -> bool {
        wanted.is_none_or(|wanted| subject.is_some_and(|subject| self.text(subject.as_str()) == wanted))
    }

    /// A text of the event's.
    pub(super) fn text(&self, text: &str) -> String {
        match &self.0 {
            Some(redaction) => redaction.text(text, None),
            None => text.to_owned(),
        }
    }

    /// A text of an event that is this API call, where it is one.
    pub(super) fn of_call(&self, text: &str, call: Option<&str>) -> String {
        match &self.0 {
            Some(redaction) => redaction.text(text, call),
            None => text.to_owned(),
        }
    }

    /// A value with the name it goes by.
    pub(super) fn variable(&self, name: &str, value: &str, call: Option<&str>) -> String {
        match &self.0 {
            Some(redaction) => redaction.variable(name, value, call),
            None => value.to_owned(),
        }
    }

    /// An argument of a script.
    pub(super) fn argument(&self, argument: &str) -> String {
        match &self.0 {
            Some(redaction) => redaction.argument(argument, None),
            None => argument.to_owned(),
        }
    }

    /// The same, for what concerns an event with this document: its secrets are known by value.
    pub(super) fn over(&self, document: &[u8]) -> Self {
        Self(
            self.0
                .as_ref()
                .map(|redaction| Arc::new(redaction.knowing(document))),
        )
    }

    pub(super) fn document<'a>(&self, document: &'a [u8]) -> Cow<'a, [u8]> {
        match &self.0 {
            Some(redaction) => Cow::Owned(redaction.document(document).into_bytes()),
            None => Cow::Borrowed(document),
        }
    }

    /// What the sender wrote into the envelope is as free as the rest: a key may repeat a text of the user's template.
    pub(super) fn event(&self, event: &mut EventView) {
        let Some(redaction) = &self.0 else {
            return;
        };
        let hide = |text: &mut String| *text = redaction.text(text, None);
        hide(&mut event.key);
        event.subject.as_mut().map(hide);
        match &mut event.facts {
            FactsView::State { host, .. } => {
                host.as_mut().map(hide);
            }
            FactsView::Retry { remote_host, .. } => {
                remote_host.as_mut().map(hide);
            }
            FactsView::Undecodable { reason } => hide(reason),
            FactsView::Gap { why, present, .. } => {
                hide(why);
                present.iter_mut().for_each(hide);
            }
            FactsView::Muted { reason, .. } => {
                reason.as_mut().map(hide);
            }
            FactsView::SourceDown { error, .. } => {
                error.as_mut().map(hide);
            }
            FactsView::Webhook {
                delivery, headers, ..
            } => {
                delivery.as_mut().map(hide);
                for (name, value) in headers {
                    *value = redaction.variable(name, value, None);
                }
            }
            FactsView::Esc(event) => event.texts_mut().for_each(hide),
            FactsView::Ncmp(told) => {
                told.cm_handle.as_mut().map(hide);
                told.alternate_id.as_mut().map(hide);
                for (name, value) in told.properties.iter_mut().chain(&mut told.old_properties) {
                    *value = redaction.variable(name, value, None);
                }
            }
            FactsView::Masakari(told) => {
                hide(&mut told.hostname);
                for (name, value) in &mut told.payload {
                    *value = redaction.variable(name, value, None);
                }
            }
            FactsView::Api { .. } | FactsView::Execution { .. } | FactsView::Blocked { .. } => {}
        }
    }

    /// Its subject and the reason for it repeat what the event says, and so does the mute that holds it.
    pub(super) fn execution(&self, execution: &mut ExecutionView) {
        if let Some(redaction) = &self.0 {
            let hide = |text: &mut String| *text = redaction.text(text, None);
            execution.subject.as_mut().map(hide);
            hide(&mut execution.why);
        }
        if let Some(mute) = &mut execution.held_by {
            self.mute(mute);
        }
    }

    /// A lane is named by its subject, and a reason is whatever somebody wrote.
    pub(super) fn mute(&self, mute: &mut MuteView) {
        if let Some(redaction) = &self.0
            && let Some(reason) = &mut mute.reason
        {
            *reason = redaction.text(reason, None);
        }
        self.scope(&mut mute.scope);
    }

    /// What a mute covers.
    pub(super) fn scope(&self, scope: &mut ScopeView) {
        if let (Some(redaction), ScopeView::Lane { subject, .. }) = (&self.0, scope) {
            *subject = redaction.text(subject, None);
        }
    }

    /// An order names what it is about: a lane by its subject.
    pub(super) fn audit(&self, entry: &mut AuditView) {
        if let Some(redaction) = &self.0 {
            entry.target = redaction.text(&entry.target, None);
        }
    }

    /// What is said of mutes, of lanes that wait, and of what is wrong.
    pub(super) fn status(&self, status: &mut StatusView) {
        for held in &mut status.mutes {
            self.mute(&mut held.mute);
        }
        let Some(redaction) = &self.0 else {
            return;
        };
        let lanes = status.blocked.iter_mut().filter_map(|lane| lane.subject.as_mut());
        for text in lanes.chain(&mut status.concerns) {
            *text = redaction.text(text, None);
        }
    }

    /// A hook says in several places what its definition says.
    pub(super) fn hook(&self, hook: &mut HookView) {
        self.definition(&mut hook.definition);
        hook.muted.iter_mut().for_each(|mute| self.mute(mute));
        let Some(redaction) = &self.0 else {
            return;
        };
        let texts = [&mut hook.command].into_iter().chain(&mut hook.triggers);
        for text in texts
            .chain(&mut hook.warnings)
            .chain(&mut hook.when)
            .chain(&mut hook.description)
        {
            *text = redaction.text(text, None);
        }
    }

    /// A definition may set a variable whose name speaks of a secret.
    pub(super) fn definition(&self, definition: &mut DefinitionView) {
        if let Some(redaction) = &self.0 {
            definition.text = redaction.text(&definition.text, None);
        }
    }

    /// `call` is the API call of the event, where it is one: it decides which parameters are secrets.
    pub(super) fn attempt(&self, attempt: &mut AttemptView, call: Option<&str>) {
        let Some(redaction) = &self.0 else {
            return;
        };
        if let Some(process) = &mut attempt.process {
            for argument in &mut process.argv {
                *argument = redaction.argument(argument, call);
            }
            for (name, value) in &mut process.environment {
                *value = redaction.variable(name, value, call);
            }
        }
        if let Some(ended) = &mut attempt.ended {
            // It may quote what an expression found in the event.
            if let OutcomeView::StartFailed { message, .. } = &mut ended.outcome {
                *message = redaction.text(message, call);
            }
            for stream in [&mut ended.stdout, &mut ended.stderr] {
                output(redaction, stream, call);
            }
        }
    }
}

impl Veil {
    /// What a script wrote.
    pub(super) fn output(&self, stream: &mut OutputView, call: Option<&str>) {
        if let Some(redaction) = &self.0 {
            output(redaction, stream, call);
        }
    }
}

fn output(redaction: &Redaction, stream: &mut OutputView, call: Option<&str>) {
    if let Some(shown) = hidden_in(&stream.head, |text| redaction.text(text, call)) {
        stream.head = shown;
    }
    // What the tail begins with may be the rest of a secret whose name was cut away.
    let tail = hidden_in(&stream.tail, |text| match stream.cut {
        0 => redaction.text(text, call),
        _ => redaction.tail(text, call),
    });
    if let Some(shown) = tail {
        stream.tail = shown;
    }
}

/// The text with something in it hidden; none when there is nothing to hide. One byte that is no UTF-8 makes base64 of an
/// output, which must not carry its secrets past the veil.
fn hidden_in(part: &Text, hide: impl FnOnce(&str) -> String) -> Option<Text> {
    let clear: Cow<'_, str> = match part {
        Text::Text(text) => Cow::Borrowed(text),
        Text::Base64(base64) => {
            let bytes = BASE64.decode(base64).unwrap_or_default();
            Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
        }
    };
    let shown = hide(&clear);
    (shown != *clear).then_some(Text::Text(shown))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::api::{ActorView, CauseView, EndedView, MutedByView, ProcessView, StateView, Time};
    use crate::event::Facts;
    use crate::event::id::Seq;
    use crate::event::payload::Payload;
    use crate::event::time::Timestamp;

    const SECRET: &str = "s3cret-of-ann";

    #[test]
    fn who_may_not_see_what_is_redacted_does_not_find_it_by_asking_either() {
        let redaction = Redaction::default();
        redaction.hide(SECRET);
        let veil = Veil::new(redaction);
        let event = Event {
            seq: Seq(1),
            source: "one".into(),
            key: format!("DEPLOY {SECRET} DONE"),
            subject: Some(Subject::new(SECRET)),
            received: Timestamp::default(),
            facts: Facts::Undecodable {
                reason: "for the test".to_owned(),
            },
            ambiguous: false,
            synthesised: false,
            payload: Payload::new(bytes::Bytes::new()),
        };
        let by_key = |part: &str| EventQuery {
            key: Some(part.to_owned()),
            ..EventQuery::default()
        };
        for part in ["s3c", SECRET, "Y s3"] {
            assert!(
                !veil.lets_find_event(Role::Viewer, &by_key(part), &event),
                "{part}"
            );
            assert!(veil.lets_find_event(Role::Operator, &by_key(part), &event));
        }
        assert!(veil.lets_find_event(Role::Viewer, &by_key("DEPLOY"), &event));
        let by_subject = EventQuery {
            subject: Some(SECRET.to_owned()),
            ..EventQuery::default()
        };
        assert!(!veil.lets_find_event(Role::Viewer, &by_subject, &event));
        assert!(veil.lets_find_event(Role::Operator, &by_subject, &event));
    }

    fn attempt() -> AttemptView {
        let at = Time(Timestamp::default());
        let document = format!("<VM><TEMPLATE><PASSWORD>{SECRET}</PASSWORD></TEMPLATE></VM>");
        let output = OutputView {
            head: Text::Text(format!("<PASSWORD>{SECRET}</PASSWORD>\n")),
            tail: Text::Text(String::new()),
            cut: 0,
            total: 40,
        };
        AttemptView {
            number: 1,
            cause: CauseView::Event,
            released: at,
            process: Some(ProcessView {
                pid: 1,
                at,
                uid: 0,
                version: String::new(),
                hook_file: String::new(),
                hook_file_sha256: String::new(),
                argv: vec!["script".to_owned(), document.clone(), BASE64.encode(document)],
                environment: vec![("DNS_PASSWORD".to_owned(), SECRET.to_owned())],
                directory: None,
                files: Vec::new(),
            }),
            ended: Some(EndedView {
                at,
                outcome: OutcomeView::Exited { code: 0 },
                stdout: output.clone(),
                stderr: output,
                outputs_pruned: false,
            }),
        }
    }

    #[test]
    fn secrets_are_blotted_out_in_arguments_environment_and_output() {
        let veil = Veil::new(Redaction::default());
        let mut view = attempt();
        veil.attempt(&mut view, None);
        let json = serde_json::to_string(&view).expect("JSON");
        assert!(!json.contains(SECRET), "{json}");
        let encoded = BASE64.encode(format!(
            "<VM><TEMPLATE><PASSWORD>{SECRET}</PASSWORD></TEMPLATE></VM>"
        ));
        assert!(!json.contains(&encoded), "{json}");
    }

    #[test]
    fn an_output_that_is_no_text_is_not_shown_past_the_veil() {
        let mut view = attempt();
        let ended = view.ended.as_mut().expect("an end");
        let mut printed = b"\xff".to_vec();
        printed.extend(format!("<PASSWORD>{SECRET}</PASSWORD>").bytes());
        ended.stdout.head = Text::Base64(BASE64.encode(&printed));
        ended.stderr.head = Text::Base64(BASE64.encode(b"\xff harmless"));
        Veil::new(Redaction::default()).attempt(&mut view, None);
        let ended = view.ended.expect("an end");
        assert_eq!(
            ended.stdout.head,
            Text::Text("\u{fffd}<PASSWORD>[redacted]</PASSWORD>".to_owned())
        );
        assert_eq!(
            ended.stderr.head,
            Text::Base64(BASE64.encode(b"\xff harmless")),
            "what holds no secret stays as it is"
        );
    }

    #[test]
    fn the_rest_of_a_secret_after_the_cut_is_hidden() {
        let encoded = BASE64.encode(format!("<VM><PASSWORD>{SECRET}</PASSWORD></VM>"));
        for (tail, shown) in [
            (
                format!("{SECRET}</PASSWORD>\nfine"),
                "[redacted]</PASSWORD>\nfine",
            ),
            (format!("{} fine", &encoded[9..]), "[redacted] fine"),
            ("</VM>\nfine".to_owned(), "</VM>\nfine"),
        ] {
            let mut view = attempt();
            let ended = view.ended.as_mut().expect("an end");
            ended.stdout.cut = 1000;
            ended.stdout.tail = Text::Text(tail);
            Veil::new(Redaction::default()).attempt(&mut view, None);
            assert_eq!(
                view.ended.expect("an end").stdout.tail,
                Text::Text(shown.to_owned())
            );
        }
    }

    #[test]
    fn a_failure_to_start_a_key_and_a_definition_show_no_secret() {
        let veil = Veil::new(Redaction::default());
        let mut view = attempt();
        view.ended.as_mut().expect("an end").outcome = OutcomeView::StartFailed {
            kind: "bad_argument".to_owned(),
            message: format!("argument 1 cannot be made of TOKEN=\"{SECRET}\""),
        };
        veil.attempt(&mut view, None);
        let mut definition = DefinitionView {
            version: String::new(),
            text: format!("name: dns\nenv:\n  DNS_TOKEN: {SECRET}\n  ZONE: prod\n"),
            file: String::new(),
            line: 1,
            file_sha256: String::new(),
        };
        veil.definition(&mut definition);
        assert_eq!(
            definition.text,
            "name: dns\nenv:\n  DNS_TOKEN: [redacted]\n  ZONE: prod\n"
        );
        let json = serde_json::to_string(&view).expect("JSON");
        assert!(!json.contains(SECRET), "{json}");
    }

    #[test]
    fn a_secret_in_a_subject_or_a_reason_is_shown_nowhere() {
        let at = Time(Timestamp::default());
        let scope = ScopeView::Lane {
            hook: "dns".to_owned(),
            subject: format!("web:{SECRET}"),
        };
        let mute = MuteView {
            scope,
            since: at,
            until: None,
            by: MutedByView::Throttle,
            reason: Some(format!("too many of {SECRET}")),
        };
        let execution = ExecutionView {
            execution: "1.dns".to_owned(),
            id: "k3vd-1.dns".to_owned(),
            event: 1,
            hook: "dns".to_owned(),
            version: String::new(),
            subject: Some(format!("web:{SECRET}")),
            source: "web".to_owned(),
            accepted: at,
            why: format!("`user` is {SECRET}"),
            retry_of: None,
            state: StateView::Succeeded { at },
            held_by: Some(mute.clone()),
            attempts: 1,
            budget_used: 1,
            interruptions: 0,
            arguments: None,
        };
        let entry = AuditView {
            number: 1,
            at,
            actor: ActorView::Daemon,
            action: "mute".to_owned(),
            target: format!("hook dns for web:{SECRET}"),
        };
        let redaction = Redaction::default();
        redaction.hide(SECRET);
        for (veil, is_hidden) in [(Veil::new(redaction), true), (Veil::lifted(), false)] {
            let (mut mute, mut execution, mut entry) = (mute.clone(), execution.clone(), entry.clone());
            veil.mute(&mut mute);
            veil.execution(&mut execution);
            veil.audit(&mut entry);
            for json in [
                serde_json::to_string(&mute).expect("JSON"),
                serde_json::to_string(&execution).expect("JSON"),
                serde_json::to_string(&entry).expect("JSON"),
            ] {
                assert_eq!(!json.contains(SECRET), is_hidden, "{json}");
            }
        }
    }

    #[test]
    fn a_lifted_veil_changes_nothing() {
        let mut view = attempt();
        Veil::lifted().attempt(&mut view, None);
        assert_eq!(view, attempt());
    }
}
