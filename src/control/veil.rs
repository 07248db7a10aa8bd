//! What must not be seen is blotted out before anything leaves the store.

use std::borrow::Cow;
use std::sync::Arc;

use super::api::{AttemptView, Text};
use crate::event::redaction::Redaction;

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

    pub(super) fn document<'a>(&self, document: &'a [u8]) -> Cow<'a, [u8]> {
        match &self.0 {
            Some(redaction) => Cow::Owned(redaction.document(document).into_bytes()),
            None => Cow::Borrowed(document),
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
            for stream in [&mut ended.stdout, &mut ended.stderr] {
                for part in [&mut stream.head, &mut stream.tail] {
                    if let Text::Text(text) = part {
                        *text = redaction.text(text, call);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;

    use super::*;
    use crate::control::api::{CauseView, EndedView, OutcomeView, OutputView, ProcessView, Time};
    use crate::event::time::Timestamp;

    const SECRET: &str = "s3cret-of-ann";

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
    fn a_lifted_veil_changes_nothing() {
        let mut view = attempt();
        Veil::lifted().attempt(&mut view, None);
        assert_eq!(view, attempt());
    }
}
