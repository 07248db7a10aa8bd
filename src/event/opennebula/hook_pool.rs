//! The hooks that `oned` keeps, as its documents say them.
//!
//! `one.hookpool.info` and `onehook list -x` give `<HOOK_POOL>` with a `<HOOK>` for each; `one.hook.info`, `onehook show -x`
//! and EXTRA of an event on `one.hook.allocate` give one `<HOOK>` (`src/hm/Hook.cc`, `to_xml`): ID, NAME, TYPE, LOCK where
//! it is locked, TEMPLATE, and HOOKLOG in the answer about one hook, which is not read here.

use crate::event::document::{self, Element, Node};

/// A hook of `oned`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolHook {
    /// Its number.
    pub id: u64,
    /// Its name; any text.
    pub name: String,
    /// What kind of event triggers it.
    pub kind: HookKind,
    /// Who locked it, where it is locked. `oned` refuses changes to a locked hook; it runs all the same.
    pub lock: Option<Lock>,
    /// What stands in TEMPLATE, in that order, known here or not.
    pub attributes: Vec<Attribute>,
}

impl PoolHook {
    /// The text of the first attribute with that name, as `oned` and `onehem-server` take the first of several.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find_map(|attribute| match &attribute.value {
                AttributeValue::Text(text) if attribute.name == name => Some(text.as_str()),
                AttributeValue::Text(_) | AttributeValue::Vector(_) => None,
            })
    }
}

/// `TYPE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookKind {
    /// A resource entered a state.
    State,
    /// An API call ended.
    Api,
    /// A kind this program does not know, as spelt in the document.
    Other(String),
}

impl HookKind {
    /// Reads `TYPE` in capitals or not.
    pub fn parse(text: &str) -> Self {
        match text.to_ascii_lowercase().as_str() {
            "state" => Self::State,
            "api" => Self::Api,
            _ => Self::Other(text.to_owned()),
        }
    }
}

/// `LOCK`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// What is locked, in `oned`'s numbers: 1 use, 2 manage, 3 admin (`include/PoolObjectSQL.h`).
    pub level: u32,
    /// The number of the user who locked it.
    pub owner: i64,
    /// When, in seconds since 1970.
    pub time: u64,
}

/// One attribute of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: AttributeValue,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttributeValue {
    /// `NAME = value`.
    Text(String),
    /// `NAME = [ KEY = value, … ]`.
    Vector(Vec<(String, String)>),
}

/// What a document says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pool {
    /// The hooks that could be read, in the document's order.
    pub hooks: Vec<PoolHook>,
    /// Those that could not.
    pub faults: Vec<HookFault>,
}

/// A hook of a pool that cannot be read; the others can.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("hook {} cannot be read: {reason}", named(*.id, .name.as_deref()))]
pub struct HookFault {
    /// Its number, where that much can be read.
    pub id: Option<u64>,
    /// Its name, where that much can be read.
    pub name: Option<String>,
    /// Why not.
    pub reason: String,
}

fn named(id: Option<u64>, name: Option<&str>) -> String {
    match (id, name) {
        (Some(id), Some(name)) => format!("{id} (`{}`)", name.escape_debug()),
        (Some(id), None) => id.to_string(),
        (None, Some(name)) => format!("`{}`", name.escape_debug()),
        (None, None) => "without a number".to_owned(),
    }
}

/// Why a document is none about hooks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoPool {
    /// It does not begin as a document does.
    #[error("it is not XML")]
    NotXml,
    /// It is about something else.
    #[error("its first element is `<{0}>`, not `<HOOK_POOL>` or `<HOOK>`")]
    OtherElement(String),
    /// It ends too early: hooks may be missing.
    #[error("it ends before `</HOOK_POOL>`")]
    CutOff,
}

const POOL: &str = "HOOK_POOL";
const HOOK: &str = "HOOK";

/// Reads a pool or a single hook. A hook that cannot be read is a fault of its own.
///
/// # Errors
/// The document is not about hooks, or is cut off.
pub fn read(text: &str) -> Result<Pool, NoPool> {
    let text = text.trim_start_matches('\u{feff}');
    let mut pool = Pool::default();
    match document::parse(text) {
        Ok(root) if root.name == POOL => {
            for element in root.elements() {
                pool.add(hook(element));
            }
            Ok(pool)
        }
        Ok(root) if root.name == HOOK => {
            pool.add(hook(&root));
            Ok(pool)
        }
        Ok(root) => Err(NoPool::OtherElement(root.name)),
        Err(fault) => read_piecemeal(text, &fault),
    }
}

impl Pool {
    fn add(&mut self, hook: Result<PoolHook, HookFault>) {
        match hook {
            Ok(hook) => self.hooks.push(hook),
            Err(fault) => self.faults.push(fault),
        }
    }
}

/// Reads a document that is not well-formed hook by hook, so that what is wrong in one leaves the others.
fn read_piecemeal(text: &str, fault: &document::Fault) -> Result<Pool, NoPool> {
    let body = after_prolog(text);
    let root: String = body
        .strip_prefix('<')
        .ok_or(NoPool::NotXml)?
        .chars()
        .take_while(|&c| document::is_name(&format!("A{c}")))
        .take(64)
        .collect();
    let mut pool = Pool::default();
    if root == HOOK {
        pool.faults.push(unreadable(body, fault));
        return Ok(pool);
    }
    if root != POOL {
        return Err(if root.is_empty() {
            NoPool::NotXml
        } else {
            NoPool::OtherElement(root)
        });
    }
    let mut rest = match body.find('>') {
        Some(end) => &body[end + 1..],
        None => return Err(NoPool::CutOff),
    };
    loop {
        rest = rest.trim_start();
        if rest.starts_with("</HOOK_POOL") {
            return Ok(pool);
        }
        if rest.is_empty() {
            return Err(NoPool::CutOff);
        }
        let length = document::measure(rest).and_then(|length| {
            let element = document::parse_element(&rest[..length])?;
            pool.add(hook(&element));
            Ok(length)
        });
        let length = length.unwrap_or_else(|fault| {
            let length = length_of_broken(rest);
            pool.faults.push(unreadable(&rest[..length], &fault));
            length
        });
        rest = &rest[length..];
    }
}

fn after_prolog(text: &str) -> &str {
    let mut rest = text.trim_start();
    while let Some(behind) = rest
        .strip_prefix("<?")
        .and_then(|inside| inside.find("?>").map(|end| &inside[end + 2..]))
    {
        rest = behind.trim_start();
    }
    rest
}

/// How far a broken hook reaches: to where the next one or the end of the pool follows an end tag. Only who may create hooks
/// can write such a place into a value.
fn length_of_broken(rest: &str) -> usize {
    const END: &str = "</HOOK>";
    let mut at = 0;
    while let Some(found) = rest[at..].find(END) {
        at += found + END.len();
        let behind = rest[at..].trim_start();
        if behind.starts_with("<HOOK>") || behind.starts_with("</HOOK_POOL") {
            return at;
        }
    }
    rest.find("</HOOK_POOL")
        .filter(|&end| end > 0)
        .unwrap_or(rest.len())
}

fn unreadable(text: &str, fault: &document::Fault) -> HookFault {
    let [id, name] = document::leading_texts(text, ["ID", "NAME"], &["TEMPLATE"]);
    HookFault {
        id: id.and_then(|id| id.trim().parse().ok()),
        name: name.map(|name| name.trim().to_owned()),
        reason: fault.to_string(),
    }
}

fn hook(element: &Element) -> Result<PoolHook, HookFault> {
    let child = |name: &str| element.elements().find(|child| child.name == name);
    let field = |name: &str| child(name).map(|child| text(child).trim().to_owned());
    let (id, name) = (field("ID"), field("NAME"));
    let number = id.as_ref().and_then(|id| id.parse::<u64>().ok());
    let fault = |reason: String| HookFault {
        id: number,
        name: name.clone(),
        reason,
    };
    if element.name != HOOK {
        return Err(fault(format!("it is an element `<{}>`", element.name)));
    }
    let kind = match field("TYPE") {
        Some(kind) if !kind.is_empty() => HookKind::parse(&kind),
        _ => return Err(fault("it has no TYPE".to_owned())),
    };
    let template = child("TEMPLATE").ok_or_else(|| fault("it has no TEMPLATE".to_owned()))?;
    let lock = child("LOCK").map(|lock| {
        let number = |name: &str| {
            lock.elements()
                .find(|child| child.name == name)
                .and_then(|child| text(child).trim().parse::<i64>().ok())
        };
        Lock {
            level: number("LOCKED")
                .and_then(|level| level.try_into().ok())
                .unwrap_or(0),
            owner: number("OWNER").unwrap_or(-1),
            time: number("TIME").and_then(|time| time.try_into().ok()).unwrap_or(0),
        }
    });
    let id = number.ok_or_else(|| match id {
        Some(id) => fault(format!("its ID is `{}`", id.escape_debug())),
        None => fault("it has no ID".to_owned()),
    })?;
    let name = name
        .clone()
        .filter(|name| !name.is_empty())
        .ok_or_else(|| fault("it has no NAME".to_owned()))?;
    Ok(PoolHook {
        id,
        name,
        kind,
        lock,
        attributes: template.elements().map(attribute).collect(),
    })
}

fn attribute(element: &Element) -> Attribute {
    let value = if element.elements().next().is_some() {
        AttributeValue::Vector(
            element
                .elements()
                .map(|part| (part.name.clone(), text(part)))
                .collect(),
        )
    } else {
        AttributeValue::Text(text(element))
    };
    Attribute {
        name: element.name.clone(),
        value,
    }
}

/// The text of an element. Beside a CDATA section blanks are layout: tools that print XML for people put each node on a line.
fn text(element: &Element) -> String {
    let has_data = element.children.iter().any(|node| matches!(node, Node::CData(_)));
    if !has_data {
        return element.text();
    }
    element
        .children
        .iter()
        .filter_map(|node| match node {
            Node::CData(data) => Some(data.as_str()),
            Node::Text(text) if !text.trim().is_empty() => Some(text.as_str()),
            Node::Text(_) | Node::Element(_) | Node::Comment(_) | Node::Instruction(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const API: &str = "<HOOK><ID>0</ID><NAME>log</NAME><TYPE>api</TYPE><TEMPLATE><ARGUMENTS><![CDATA[$API x]]></ARGUMENTS>\
                       <CALL><![CDATA[one.vm.allocate]]></CALL><COMMAND><![CDATA[/bin/true]]></COMMAND>\
                       <REMOTE><![CDATA[NO]]></REMOTE></TEMPLATE></HOOK>";

    fn text_attribute(name: &str, value: &str) -> Attribute {
        Attribute {
            name: name.to_owned(),
            value: AttributeValue::Text(value.to_owned()),
        }
    }

    #[test]
    fn a_hook_is_read_with_its_attributes_in_order() {
        let pool = read(API).expect("a hook");
        assert_eq!(pool.faults, []);
        assert_eq!(
            pool.hooks,
            [PoolHook {
                id: 0,
                name: "log".to_owned(),
                kind: HookKind::Api,
                lock: None,
                attributes: vec![
                    text_attribute("ARGUMENTS", "$API x"),
                    text_attribute("CALL", "one.vm.allocate"),
                    text_attribute("COMMAND", "/bin/true"),
                    text_attribute("REMOTE", "NO"),
                ],
            }]
        );
        assert_eq!(pool.hooks[0].attribute("CALL"), Some("one.vm.allocate"));
        assert_eq!(pool.hooks[0].attribute("STATE"), None);
    }

    #[test]
    fn locks_vectors_logs_and_the_layout_of_tools_are_read() {
        let pool = read(
            "<?xml version=\"1.0\"?>\n<HOOK_POOL>\n  <HOOK>\n    <ID>7</ID>\n    <NAME>a &amp; b</NAME>\n    <TYPE>STATE</TYPE>\n    \
             <LOCK>\n      <LOCKED>3</LOCKED><OWNER>0</OWNER><TIME>1790000000</TIME><REQ_ID>-1</REQ_ID></LOCK>\n    \
             <TEMPLATE>\n      <COMMAND>\n        <![CDATA[ x ]]>\n      </COMMAND>\n      \
             <OWN><K><![CDATA[v]]></K></OWN><EMPTY/></TEMPLATE>\n    <HOOKLOG><HOOK_EXECUTION_RECORD/></HOOKLOG>\n  \
             </HOOK>\n</HOOK_POOL>\n",
        )
        .expect("a pool");
        assert_eq!(
            pool.hooks,
            [PoolHook {
                id: 7,
                name: "a & b".to_owned(),
                kind: HookKind::State,
                lock: Some(Lock {
                    level: 3,
                    owner: 0,
                    time: 1_790_000_000
                }),
                attributes: vec![
                    text_attribute("COMMAND", " x "),
                    Attribute {
                        name: "OWN".to_owned(),
                        value: AttributeValue::Vector(vec![("K".to_owned(), "v".to_owned())]),
                    },
                    text_attribute("EMPTY", ""),
                ],
            }]
        );
        assert_eq!(read("<HOOK_POOL/>"), Ok(Pool::default()));
    }

    #[test]
    fn a_bad_hook_leaves_the_others() {
        for bad in [
            "<HOOK><ID>1</ID><NAME>bad</NAME><TYPE>api</TYPE><TEMPLATE><A>&nosuch;</A></TEMPLATE></HOOK>",
            "<HOOK><ID>1</ID><NAME>bad</NAME><TYPE>api</TYPE><TEMPLATE><A>1 < 2</A></TEMPLATE></HOOK>",
            "<HOOK><ID>1</ID><NAME>bad</NAME><TYPE>api</TYPE><TEMPLATE><A>\u{1}</A></TEMPLATE></HOOK>",
            "<HOOK><ID>1</ID><NAME>bad</NAME><TYPE>api</TYPE></HOOK>",
            "<HOOK><ID>1</ID><NAME>bad</NAME><TEMPLATE/></HOOK>",
        ] {
            let second = API.replace("<ID>0<", "<ID>2<");
            let pool = read(&format!("<HOOK_POOL>{API}{bad}{second}</HOOK_POOL>")).expect("a pool");
            let ids: Vec<u64> = pool.hooks.iter().map(|hook| hook.id).collect();
            assert_eq!(ids, [0, 2], "{bad}");
            assert_eq!(pool.faults.len(), 1, "{bad}");
            assert_eq!(pool.faults[0].id, Some(1), "{bad}");
            assert_eq!(pool.faults[0].name.as_deref(), Some("bad"), "{bad}");
        }
        let pool = read("<HOOK><ID>x</ID><NAME>n</NAME><TYPE>api</TYPE><TEMPLATE/></HOOK>").expect("a pool");
        assert_eq!(
            pool.faults[0].to_string(),
            "hook `n` cannot be read: its ID is `x`"
        );
    }

    #[test]
    fn a_document_that_is_cut_off_or_about_something_else_is_no_pool() {
        assert_eq!(read(""), Err(NoPool::NotXml));
        assert_eq!(read("NAME=x"), Err(NoPool::NotXml));
        assert_eq!(read("<VM/>"), Err(NoPool::OtherElement("VM".to_owned())));
        assert_eq!(read("<VM>"), Err(NoPool::OtherElement("VM".to_owned())));
        assert_eq!(read("<HOOK_POOL>"), Err(NoPool::CutOff));
        assert_eq!(read(&format!("<HOOK_POOL>{API}")), Err(NoPool::CutOff));
        assert_eq!(read("<HOOK_POOL><HOOK><ID>1</ID>"), Err(NoPool::CutOff));
        let cut = read("<HOOK><ID>1</ID><NAME>n").expect("a fault of the hook");
        assert_eq!(cut.faults[0].id, Some(1));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(
            text in "(<HOOK_POOL>|</HOOK_POOL>|<HOOK>|</HOOK>|<ID>1</ID>|<NAME>n</NAME>|<TYPE>api</TYPE>|<TEMPLATE>|</TEMPLATE>|<A/>|<!\\[CDATA\\[|\\]\\]>|&|<\\?|\\?>|<|\\PC){0,24}"
        ) {
            let _ = read(&text);
        }

        #[test]
        fn whatever_stands_in_one_hook_the_next_is_read(junk in "[^\\]]{0,40}") {
            let text = format!("<HOOK_POOL><HOOK><ID>1</ID><NAME>{junk}</NAME></HOOK>{API}</HOOK_POOL>");
            prop_assume!(!junk.contains("</HOOK") && !junk.contains("<HOOK>"));
            let pool = read(&text).expect("a pool");
            prop_assert_eq!(pool.hooks.len(), 1);
            prop_assert_eq!(pool.faults.len(), 1);
        }
    }
}
