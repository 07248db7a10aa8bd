//! Messages held against the schemas in `xsd/`.
//!
//! Nothing depends on the verdict: a message that breaks its schema is read as well as it can be. It tells an operator that
//! the controller has begun to send something else.

use std::sync::LazyLock;

use uppsala::{Parser, XsdValidator};

use super::envelope::Envelope;
use crate::event::document;

/// So many faults of one document are told; one mistake often causes a row of them.
const MAX_FAULTS: usize = 3;

/// The schemas, compiled when first needed.
static SCHEMAS: LazyLock<Schemas> = LazyLock::new(|| Schemas {
    api: compile(include_str!("../../../xsd/hook_message_api.xsd")),
    state: compile(include_str!("../../../xsd/hook_message_state.xsd")),
    retry: compile(include_str!("../../../xsd/hook_message_retry.xsd")),
    result: compile(include_str!("../../../xsd/hook_execution_result.xsd")),
});

struct Schemas {
    api: Result<XsdValidator, String>,
    state: Result<XsdValidator, String>,
    retry: Result<XsdValidator, String>,
    result: Result<XsdValidator, String>,
}

fn compile(schema: &str) -> Result<XsdValidator, String> {
    let document = uppsala::parse(schema).map_err(|error| error.to_string())?;
    XsdValidator::from_schema(&document).map_err(|error| error.to_string())
}

/// Holds a decoded message against the schema of its kind; gives the first faults, as `line:column: what is wrong` where the
/// place is known. Empty for a valid message.
pub fn validate(message: &[u8]) -> Vec<String> {
    let text = document::readable(message);
    let schema = match Envelope::read(&text) {
        Err(fault) => return vec![fault.to_string()],
        Ok(envelope) if envelope.is_api() => &SCHEMAS.api,
        Ok(envelope) if envelope.is_retry() => &SCHEMAS.retry,
        Ok(_) => &SCHEMAS.state,
    };
    faults(schema, &text)
}

/// Holds what is sent back to the controller against its schema; `reply` has no root element, as on the wire.
pub fn validate_reply(reply: &str) -> Vec<String> {
    faults(&SCHEMAS.result, &wrap_reply(reply))
}

/// A reply within the root element that the schema wants.
pub fn wrap_reply(reply: &str) -> String {
    format!("<HOOK_EXECUTION>{reply}</HOOK_EXECUTION>")
}

fn faults(schema: &Result<XsdValidator, String>, text: &str) -> Vec<String> {
    let schema = match schema {
        Ok(schema) => schema,
        Err(error) => return vec![error.clone()],
    };
    let depth = u32::try_from(document::MAX_DEPTH).unwrap_or(u32::MAX);
    let parser = Parser::new().with_forbid_dtd(true).with_max_depth(depth);
    match parser.parse(text) {
        Ok(document) => schema
            .validate(&document)
            .iter()
            .take(MAX_FAULTS)
            .map(ToString::to_string)
            .collect(),
        Err(error) => vec![error.to_string()],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STATE: &str = "<HOOK_MESSAGE><HOOK_TYPE>STATE</HOOK_TYPE><HOOK_OBJECT>HOST</HOOK_OBJECT><STATE>ERROR</STATE>\
                         <REMOTE_HOST>h1</REMOTE_HOST><RESOURCE_ID>0</RESOURCE_ID><HOST><ID>0</ID></HOST></HOOK_MESSAGE>";

    #[test]
    fn the_schemas_compile() {
        for schema in [&SCHEMAS.api, &SCHEMAS.state, &SCHEMAS.retry, &SCHEMAS.result] {
            assert_eq!(schema.as_ref().err(), None);
        }
    }

    #[test]
    fn a_fault_is_told_and_a_valid_message_is_not_bothered() {
        assert_eq!(validate(STATE.as_bytes()), Vec::<String>::new());
        for (from, to) in [
            ("<RESOURCE_ID>0<", "<RESOURCE_ID>x<"),
            ("<STATE>ERROR</STATE>", ""),
            ("<STATE>ERROR<", "<STATE>error<"),
            (
                "<RESOURCE_ID>0</RESOURCE_ID>",
                "<RESOURCE_ID>0</RESOURCE_ID><NEW/>",
            ),
            ("HOST>", "ZONE>"),
            ("</HOOK_MESSAGE>", ""),
        ] {
            let faults = validate(STATE.replace(from, to).as_bytes());
            assert!(
                !faults.is_empty() && faults.len() <= MAX_FAULTS,
                "{from} -> {to}: {faults:?}"
            );
        }
        assert!(!validate(b"<!DOCTYPE x><HOOK_MESSAGE/>").is_empty());
    }

    #[test]
    fn a_reply_is_held_against_its_schema() {
        let reply = "<ARGUMENTS>x</ARGUMENTS><EXECUTION_RESULT><COMMAND>/bin/true x</COMMAND><STDOUT>b3V0Cg==\n</STDOUT>\
                     <STDERR></STDERR><CODE>255</CODE></EXECUTION_RESULT><RETRY>yes</RETRY>";
        assert_eq!(validate_reply(reply), Vec::<String>::new());
        assert!(!validate_reply(&reply.replace("255", "256")).is_empty());
        assert!(!validate_reply(&reply.replace("/bin/true x", "a & b")).is_empty());
    }

    proptest! {
        #[test]
        fn no_message_makes_validation_panic(text in "(<HOOK_MESSAGE>|</HOOK_MESSAGE>|<HOOK_TYPE>API</HOOK_TYPE>|<CALL>|<A b='|<|>|&|\\PC){0,12}") {
            let _ = validate(text.as_bytes());
        }
    }
}
