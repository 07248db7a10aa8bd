//! XML-RPC as `oned` speaks it (<http://xmlrpc.com/spec.md>): calls of integers, booleans and texts; answers of an array.

use std::fmt::Write as _;

use super::credentials::Session;
use crate::event::document::{self, Element};

/// A parameter of a call, or what one gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `int`; `oned` has numbers of 32 bits and, in `i8`, of 64.
    Integer(i64),
    /// `boolean`.
    Boolean(bool),
    /// `string`.
    Text(String),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

/// Why an answer is none of `oned`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerFault {
    /// It is not well-formed.
    #[error("it is no XML that can be read: {0}")]
    Document(String),
    /// It is an XML-RPC fault: the server does not know the method, or could not read the call.
    #[error("it is a fault, code {code}: {message}")]
    Fault {
        /// The server's code.
        code: i64,
        /// The server's words.
        message: String,
    },
    /// It is another document, or has other values than `oned` gives.
    #[error("it is not what oned answers: {0}")]
    NotOfOned(String),
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Given(Value),
    Refused { code: i64, message: String },
}

/// The body of a call.
pub(super) fn call(method: &str, session: &Session, parameters: &[Value]) -> String {
    let mut body = String::from("<?xml version=\"1.0\"?><methodCall><methodName>");
    escape(method, &mut body);
    body.push_str("</methodName><params>");
    let session = Value::from(session.as_str());
    for parameter in [&session].into_iter().chain(parameters) {
        body.push_str("<param><value>");
        match parameter {
            Value::Integer(number) => {
                // `i4` has 32 bits.
                let kind = if i32::try_from(*number).is_ok() {
                    "int"
                } else {
                    "i8"
                };
                let _ = write!(body, "<{kind}>{number}</{kind}>");
            }
            Value::Boolean(truth) => {
                let _ = write!(body, "<boolean>{}</boolean>", u8::from(*truth));
            }
            Value::Text(text) => {
                body.push_str("<string>");
                escape(text, &mut body);
                body.push_str("</string>");
            }
        }
        body.push_str("</value></param>");
    }
    body.push_str("</params></methodCall>");
    body
}

fn escape(text: &str, into: &mut String) {
    for character in text.chars() {
        match character {
            '&' => into.push_str("&amp;"),
            '<' => into.push_str("&lt;"),
            '>' => into.push_str("&gt;"),
            '\r' => into.push_str("&#13;"),
            other => into.push(other),
        }
    }
}

/// Reads the body of an answer.
pub(super) fn answer(body: &[u8]) -> Result<Answer, AnswerFault> {
    let text = document::readable(body);
    let root = document::parse(&text).map_err(|fault| AnswerFault::Document(fault.to_string()))?;
    if root.name != "methodResponse" {
        return Err(other(format!("its root is `{}`", root.name)));
    }
    let holder = root
        .elements()
        .next()
        .ok_or_else(|| other("it is empty".to_owned()))?;
    if holder.name == "fault" {
        return Err(fault(holder));
    }
    let values = descend(holder, &["param", "value", "array", "data"])
        .ok_or_else(|| other("it holds no array".to_owned()))?
        .elements()
        .map(value)
        .collect::<Result<Vec<_>, _>>()?;
    match values.as_slice() {
        [Value::Boolean(true), given, ..] => Ok(Answer::Given(given.clone())),
        [Value::Boolean(false), Value::Text(message), rest @ ..] => Ok(Answer::Refused {
            code: match rest {
                [Value::Integer(code), ..] => *code,
                _ => 0,
            },
            message: message.clone(),
        }),
        [] | [_, ..] => Err(other(
            "its array does not begin with a truth and a value".to_owned(),
        )),
    }
}

fn other(what: String) -> AnswerFault {
    AnswerFault::NotOfOned(what)
}

fn descend<'a>(element: &'a Element, names: &[&str]) -> Option<&'a Element> {
    names.iter().try_fold(element, |element, name| {
        element.elements().find(|child| child.name == *name)
    })
}

/// A `value`: typed by the element in it, a text where there is none.
fn value(element: &Element) -> Result<Value, AnswerFault> {
    let Some(typed) = element.elements().next() else {
        return Ok(Value::Text(element.text()));
    };
    let text = typed.text();
    match typed.name.as_str() {
        "string" => Ok(Value::Text(text)),
        "int" | "i4" | "i8" => match text.trim().parse() {
            Ok(number) => Ok(Value::Integer(number)),
            Err(_) => Err(other(format!("`{text}` is no number"))),
        },
        "boolean" => match text.trim() {
            "1" => Ok(Value::Boolean(true)),
            "0" => Ok(Value::Boolean(false)),
            _ => Err(other(format!("`{text}` is no truth"))),
        },
        kind => Err(other(format!("it holds a value of type `{kind}`"))),
    }
}

fn fault(holder: &Element) -> AnswerFault {
    let mut code = 0;
    let mut message = String::new();
    let members = descend(holder, &["value", "struct"])
        .into_iter()
        .flat_map(Element::elements);
    for member in members {
        let name = descend(member, &["name"]).map(Element::text).unwrap_or_default();
        let value = descend(member, &["value"]).map(value);
        match (name.as_str(), value) {
            ("faultCode", Some(Ok(Value::Integer(number)))) => code = number,
            ("faultString", Some(Ok(Value::Text(text)))) => message = text,
            _ => {}
        }
    }
    AnswerFault::Fault { code, message }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn array(values: &str) -> Vec<u8> {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<methodResponse>\r\n<params>\r\n<param><value><array><data>\r\n\
             {values}</data></array></value></param>\r\n</params>\r\n</methodResponse>\r\n"
        )
        .into_bytes()
    }

    #[test]
    fn answers_are_read_as_oned_gives_them() {
        let given = array(
            "<value><boolean>1</boolean></value>\r\n<value><string>&lt;VM&gt;&lt;ID&gt;7&lt;/ID&gt;&lt;/VM&gt;</string></value>\
             <value><i4>0</i4></value>",
        );
        assert_eq!(
            answer(&given),
            Ok(Answer::Given(Value::from("<VM><ID>7</ID></VM>")))
        );
        let number =
            array("<value><boolean>1</boolean></value><value><i4>12</i4></value><value><i4>0</i4></value>");
        assert_eq!(answer(&number), Ok(Answer::Given(Value::Integer(12))));
        let untyped = array("<value><boolean>1</boolean></value><value>text</value>");
        assert_eq!(answer(&untyped), Ok(Answer::Given(Value::from("text"))));
        let refused = array(
            "<value><boolean>0</boolean></value><value><string>[one.vm.info] User couldn't be authenticated, aborting call.\
             </string></value><value><i4>256</i4></value><value><i4>-1</i4></value>",
        );
        assert_eq!(
            answer(&refused),
            Ok(Answer::Refused {
                code: 256,
                message: "[one.vm.info] User couldn't be authenticated, aborting call.".to_owned()
            })
        );
    }

    #[test]
    fn what_is_no_answer_says_so() {
        let fault = b"<methodResponse><fault><value><struct><member><name>faultCode</name><value><int>-506</int></value></member>\
            <member><name>faultString</name><value><string>Method 'one.x' not defined</string></value></member></struct></value>\
            </fault></methodResponse>";
        assert_eq!(
            answer(fault),
            Err(AnswerFault::Fault {
                code: -506,
                message: "Method 'one.x' not defined".to_owned()
            })
        );
        for (body, what) in [
            (&b"<html><p>hello</p></html>"[..], "its root is `html`"),
            (b"<methodResponse/>", "it is empty"),
            (b"<methodResponse><params/></methodResponse>", "it holds no array"),
            (&array("<value><i4>1</i4></value>"), "does not begin with"),
            (
                &array("<value><boolean>yes</boolean></value>"),
                "`yes` is no truth",
            ),
            (&array("<value><double>1.0</double></value>"), "type `double`"),
        ] {
            let said = answer(body).expect_err(what).to_string();
            assert!(said.contains(what), "{said}");
        }
        assert!(matches!(answer(b"SSH-2.0"), Err(AnswerFault::Document(_))));
    }

    proptest! {
        #[test]
        fn what_is_called_arrives(text in "\\PC{0,40}|[&<>\r\n\"']{0,8}", number: i64, truth: bool) {
            let credentials = tempfile::NamedTempFile::new().expect("a file");
            std::fs::write(credentials.path(), "user:pass<&>word").expect("a file");
            let session = super::super::credentials::read(&[credentials.path().to_owned()]).expect("a session");
            let parameters = [Value::from(text.as_str()), Value::from(number), Value::from(truth)];
            let body = call("one.test", &session, &parameters);
            let root = document::parse(&body).expect("a document");
            let params = descend(&root, &["params"]).expect("parameters");
            let read: Vec<Value> = params
                .elements()
                .map(|param| value(descend(param, &["value"]).expect("a value")).expect("a value"))
                .collect();
            prop_assert_eq!(&read[0], &Value::from("user:pass<&>word"));
            // XML's own rule for line ends.
            let normal = |value: &Value| match value {
                Value::Text(text) => Value::Text(text.replace("\r\n", "\n").replace('\r', "\n")),
                other => other.clone(),
            };
            prop_assert_eq!(
                read[1..].iter().map(normal).collect::<Vec<_>>(),
                parameters.iter().map(normal).collect::<Vec<_>>()
            );
        }

        #[test]
        fn no_answer_makes_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200), values in "[<>/a-z0-9 ]{0,60}") {
            let _ = answer(&body);
            let _ = answer(&array(&values));
        }
    }
}
