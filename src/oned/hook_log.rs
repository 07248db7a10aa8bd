//! `one.hooklog.info`: what `oned` keeps of executions of its hooks.

use super::{AnswerFault, CallError, Client, Value};
use crate::event::document::{self, Element};
use crate::event::time::Timestamp;

/// All hooks, all times: the call's parameters take a negative number for no limit (`HookPoolAPI::log_info`).
const ANY: i64 = -1;

/// Executions that went well and those that did not.
const ANY_CODE: i64 = 0;

/// What `oned` keeps of one execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookRecord {
    /// The hook's number.
    pub hook_id: u64,
    /// The execution's number within the hook, from 0. Only the newest are kept (`LOG_RETENTION` in oned.conf).
    pub execution_id: u64,
    /// When `oned` was told that it had ended; it keeps whole seconds.
    pub at: Timestamp,
    /// The arguments as one line, wherever they went to.
    pub arguments: String,
    /// The return code; 255 for a script that could not be run to its end.
    pub code: i64,
    /// Somebody had asked for it with `onehook retry`, or it was tried again.
    pub is_retry: bool,
}

impl Client {
    /// `one.hooklog.info`: the records of all hooks, by hook, oldest first. Only for the group oneadmin.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn hook_log(&self) -> Result<Vec<HookRecord>, CallError> {
        const METHOD: &str = "one.hooklog.info";
        let parameters = [ANY, ANY, ANY, ANY_CODE].map(Value::Integer);
        let text = self.text(METHOD, &parameters).await?;
        records(&text).map_err(|source| CallError::Answer {
            endpoint: self.endpoint().clone(),
            method: METHOD.to_owned(),
            source,
        })
    }
}

fn records(text: &str) -> Result<Vec<HookRecord>, AnswerFault> {
    let root = document::parse(text).map_err(|fault| AnswerFault::Document(fault.to_string()))?;
    let mut records = root
        .elements()
        .filter(|element| element.name == "HOOK_EXECUTION_RECORD")
        .map(record)
        .collect::<Result<Vec<_>, _>>()?;
    records.sort_by_key(|record| (record.hook_id, record.execution_id));
    Ok(records)
}

fn record(element: &Element) -> Result<HookRecord, AnswerFault> {
    let seconds: i64 = number(element, "TIMESTAMP")?;
    let result = child(element, "EXECUTION_RESULT");
    Ok(HookRecord {
        hook_id: number(element, "HOOK_ID")?,
        execution_id: number(element, "EXECUTION_ID")?,
        at: Timestamp::from_millis(seconds.saturating_mul(1_000)),
        arguments: child(element, "ARGUMENTS").map(Element::text).unwrap_or_default(),
        code: result.map_or(Ok(0), |result| number(result, "CODE"))?,
        is_retry: child(element, "RETRY").is_some_and(|retry| retry.text().trim() == "yes"),
    })
}

fn child<'a>(element: &'a Element, name: &str) -> Option<&'a Element> {
    element.elements().find(|child| child.name == name)
}

fn number<N: std::str::FromStr>(element: &Element, name: &str) -> Result<N, AnswerFault> {
    child(element, name)
        .and_then(|child| child.text().trim().parse().ok())
        .ok_or_else(|| AnswerFault::NotOfOned(format!("a record of an execution has no {name}")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn xml(hook: u64, execution: u64, arguments: &str, more: &str) -> String {
        format!(
            "<HOOK_EXECUTION_RECORD><HOOK_ID>{hook}</HOOK_ID><EXECUTION_ID>{execution}</EXECUTION_ID>\
             <TIMESTAMP>1763769600</TIMESTAMP><ARGUMENTS>{arguments}</ARGUMENTS><EXECUTION_RESULT><COMMAND>/x {arguments}\
             </COMMAND><STDOUT>b3V0Cg==\n</STDOUT><STDERR></STDERR><CODE>3</CODE></EXECUTION_RESULT>{more}\
             </HOOK_EXECUTION_RECORD>"
        )
    }

    #[test]
    fn records_are_read_as_oned_keeps_them_and_put_in_order() {
        let log = format!(
            "<HOOKLOG>{}{}{}</HOOKLOG>",
            xml(7, 1, "PFZNLz4= x", ""),
            xml(7, 0, "", "<RETRY>yes</RETRY>"),
            xml(3, 24, "a &amp; b", "<REMOTE_HOST>node1</REMOTE_HOST>")
        );
        let read = records(&log).expect("records");
        let shown: Vec<_> = read
            .iter()
            .map(|record| {
                (
                    record.hook_id,
                    record.execution_id,
                    record.arguments.as_str(),
                    record.is_retry,
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                (3, 24, "a & b", false),
                (7, 0, "", true),
                (7, 1, "PFZNLz4= x", false)
            ]
        );
        assert!(read.iter().all(|record| record.code == 3));
        assert_eq!(read[0].at, Timestamp::from_millis(1_763_769_600_000));
        assert_eq!(records("<HOOKLOG></HOOKLOG>"), Ok(Vec::new()));
        assert!(records("<HOOKLOG><HOOK_EXECUTION_RECORD/></HOOKLOG>").is_err());
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(text in "\\PC{0,60}", number in "\\PC{0,12}", arguments in "\\PC{0,30}") {
            let _ = records(&text);
            let _ = records(&xml(1, 2, &arguments, "").replace("1763769600", &number));
        }
    }
}
