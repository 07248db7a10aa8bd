//! Between the event's data and CEL's values, and the functions that CEL itself does not have.

use std::any::Any;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt, DYN_TYPE, LIST_TYPE,
    STRING_TYPE, Type,
};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::{Env, ExecutionError};
use serde_json::Value as Json;

use super::language::{EACH, ELEMENTS, PRESENT, TEXT};
use crate::event::{Event, Facts};

/// How many elements one comprehension may run over.
pub(super) const MAX_ELEMENTS: usize = 10_000;
/// How many values all comprehensions of one evaluation may go through together: elements with everything in them, for
/// the interpreter copies them, and nested comprehensions counted each time they run.
pub(super) const MAX_VALUES: usize = 300_000;

/// The functions and types of the language. Optional values are left out: `text`, `each` and `has` do their work.
pub(super) static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut environment = Env::stdlib().with_optional_support(false);
    let own: [(&str, Vec<Type>, cel::common::functions::Function); 4] = [
        (TEXT, vec![DYN_TYPE, STRING_TYPE], text),
        (EACH, vec![DYN_TYPE, LIST_TYPE], each),
        (PRESENT, vec![DYN_TYPE, LIST_TYPE], present),
        (ELEMENTS, vec![DYN_TYPE, DYN_TYPE], elements),
    ];
    for (name, arguments, function) in own {
        let declared = environment.add_overload(name, name, arguments, function);
        debug_assert_eq!(declared, Ok(()), "no author can take these names");
    }
    Arc::new(environment)
});

/// A tree as a CEL value that borrows its texts.
pub(super) fn from_json(tree: &Json) -> Box<dyn Val + '_> {
    match tree {
        Json::Null => Box::new(CelNull),
        Json::Bool(value) => Box::new(CelBool::from(*value)),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => Box::new(CelInt::from(value)),
            (None, Some(value)) => Box::new(CelUInt::from(value)),
            (None, None) => Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN))),
        },
        Json::String(text) => Box::new(CelString::from(text.as_str())),
        Json::Array(elements) => {
            let elements: Vec<Box<dyn Val + '_>> = elements.iter().map(from_json).collect();
            Box::new(CelList::from(elements))
        }
        Json::Object(members) => {
            let members: HashMap<CelMapKey<'_>, Box<dyn Val + '_>> = members
                .iter()
                .map(|(name, value)| (CelMapKey::from(name.as_str()), from_json(value)))
                .collect();
            Box::new(CelMap::from(members))
        }
    }
}

/// What a notification of Masakari says besides its event, by the names of its payload.
const MASAKARI_TEXTS: [&str; 5] = [
    "host_status",
    "cluster_status",
    "process_name",
    "instance_uuid",
    "vir_domain_event",
];

/// The event's own fields; those that its kind does not have are absent.
pub(super) fn meta<'e>(event: &'e Event) -> Box<dyn Val + 'e> {
    let mut fields: HashMap<CelMapKey<'e>, Box<dyn Val + 'e>> = HashMap::new();
    let mut add = |name: &'static str, value: Box<dyn Val + 'e>| {
        fields.insert(CelMapKey::from(name), value);
    };
    let seq = i64::try_from(event.seq.0).unwrap_or(i64::MAX);
    add("seq", Box::new(CelInt::from(seq)));
    add("source", borrowed(&event.source));
    add("kind", borrowed(event.kind().as_str()));
    add("key", borrowed(&event.key));
    add("received", Box::new(CelString::from(event.received.to_string())));
    add("ambiguous", Box::new(CelBool::from(event.ambiguous)));
    add("synthesised", Box::new(CelBool::from(event.synthesised)));
    let mut add_text = |name, text: Option<&'e str>| {
        if let Some(text) = text {
            add(name, borrowed(text));
        }
    };
    add_text("subject", event.subject.as_ref().map(|s| s.as_str()));
    add_text("host", event.host());
    match &event.facts {
        Facts::State(change) => {
            add_text("resource", Some(change.resource.as_str()));
            add_text("id", change.id.as_deref());
            add_text("state", Some(&change.state));
            add_text("lcm_state", change.lcm_state.as_deref());
            add_text("previous_state", change.previous_state.as_deref());
            add_text("previous_lcm_state", change.previous_lcm_state.as_deref());
        }
        Facts::Api(call) => {
            add_text("call", Some(&call.call));
            add_text("result", Some(if call.success { "success" } else { "failure" }));
        }
        Facts::Webhook(request) => {
            add_text("endpoint", Some(&request.endpoint));
            add_text("method", Some(&request.method));
            add_text("form", Some(request.form.as_str()));
            add_text("delivery", request.delivery.as_deref());
            add_text("sender", request.sender.as_deref());
            let headers: HashMap<CelMapKey<'e>, Box<dyn Val + 'e>> = request
                .headers
                .iter()
                .map(|(name, value)| (CelMapKey::from(name.as_str()), borrowed(value)))
                .collect();
            fields.insert(CelMapKey::from("headers"), Box::new(CelMap::from(headers)));
        }
        Facts::Esc(event) => {
            for (name, text) in event.texts() {
                add_text(name, Some(text));
            }
        }
        Facts::Ncmp(told) => {
            for (name, text) in told.texts() {
                let text: Box<dyn Val + 'e> = Box::new(CelString::from(text.into_owned()));
                fields.insert(CelMapKey::from(name), text);
            }
            for (name, properties) in [
                ("properties", &told.properties),
                ("old_properties", &told.old_properties),
            ] {
                let properties: HashMap<CelMapKey<'e>, Box<dyn Val + 'e>> = properties
                    .iter()
                    .map(|(name, value)| (CelMapKey::from(name.as_str()), borrowed(value)))
                    .collect();
                fields.insert(CelMapKey::from(name), Box::new(CelMap::from(properties)));
            }
        }
        Facts::Masakari(told) => {
            add_text("notification_uuid", Some(&told.uuid));
            add_text("type", Some(&told.kind));
            add_text("generated_time", Some(&told.generated_time));
            add_text("status", Some(told.status()));
            add_text("previous_status", told.previous_status());
            add_text("event", told.event());
            for name in MASAKARI_TEXTS {
                add_text(name, told.text(name));
            }
            add_text("sender", told.sender.as_deref());
        }
        Facts::Retry(_) | Facts::Undecodable { .. } | Facts::Gap(_) | Facts::Own(_) => {}
    }
    Box::new(CelMap::from(fields))
}

fn borrowed(text: &str) -> Box<dyn Val + '_> {
    Box::new(CelString::from(text))
}

/// How many values the comprehensions of one evaluation may still go through.
#[derive(Debug, Clone, Default)]
pub(super) struct Allowance(Arc<AtomicUsize>);

static ALLOWANCE_TYPE: Type = Type::new_unspecified_type("hem.allowance");

impl Allowance {
    /// Grants a whole evaluation's worth.
    pub(super) fn renew(&self) {
        self.0.store(MAX_VALUES, Ordering::Relaxed);
    }

    fn take(&self, range: &dyn Val) -> Result<(), String> {
        let length = range.as_sizer().map_or(0, |sizer| *sizer.size().inner());
        if usize::try_from(length).is_ok_and(|length| length > MAX_ELEMENTS) {
            return Err(format!(
                "a list of {length} elements is too long to go through; at most {MAX_ELEMENTS} are allowed"
            ));
        }
        let left = self.0.load(Ordering::Relaxed);
        match left.checked_sub(values_in(range, left)) {
            Some(left) => {
                self.0.store(left, Ordering::Relaxed);
                Ok(())
            }
            None => Err(format!(
                "there is too much to go through; at most {MAX_VALUES} values are allowed"
            )),
        }
    }
}

/// How many values are in a container, however deep; stops counting beyond `limit`.
fn values_in(container: &dyn Val, limit: usize) -> usize {
    let within = |counted: usize, value: &dyn Val| {
        if counted > limit {
            counted
        } else {
            counted + 1 + values_in(value, limit - counted)
        }
    };
    if let Some(list) = container.downcast_ref::<CelList>() {
        let elements = list.inner().iter();
        elements.fold(0, |counted, value| within(counted, value.as_ref()))
    } else if let Some(map) = container.downcast_ref::<CelMap>() {
        let members = map.inner().values();
        members.fold(0, |counted, value| within(counted, value.as_ref()))
    } else {
        0
    }
}

impl Val for Allowance {
    fn get_type(&self) -> &Type {
        &ALLOWANCE_TYPE
    }

    fn cel_type() -> &'static Type {
        &ALLOWANCE_TYPE
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Allowance {}

type Arguments<'b, 'v> = Vec<CowVal<'b, 'v>>;
type Outcome<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;

/// The overloads are declared with their number of arguments, so that the interpreter gives no other.
fn two<'b, 'v>(arguments: Arguments<'b, 'v>) -> Result<[CowVal<'b, 'v>; 2], ExecutionError> {
    <[CowVal<'b, 'v>; 2]>::try_from(arguments)
        .map_err(|given| ExecutionError::invalid_argument_count(2, given.len()))
}

/// `@text(tree, path)`: the text at a path of names, the first one of a list; empty when there is none.
fn text<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let [tree, path] = two(arguments)?;
    let path = path.downcast_ref::<CelString>().map_or("", |p| p.inner());
    let mut value: &dyn Val = tree.as_ref();
    for name in path.split('/').filter(|name| !name.is_empty()) {
        let member = first(value)
            .downcast_ref::<CelMap>()
            .and_then(|map| map.inner().get(&CelMapKey::from(name)));
        match member {
            Some(member) => value = member.as_ref(),
            None => return Ok(CowVal::owned(CelString::from(String::new()))),
        }
    }
    let value = first(value);
    // An element with attributes is a map, with its text under this name.
    let value = value
        .downcast_ref::<CelMap>()
        .and_then(|map| map.inner().get(&CelMapKey::from(TEXT_MEMBER)))
        .map_or(value, |text| text.as_ref());
    Ok(CowVal::owned(CelString::from(
        plain_text(value).unwrap_or_default(),
    )))
}

/// The member of a tree's node that holds an element's own text where it has attributes too.
const TEXT_MEMBER: &str = "#text";

fn first<'b, 'v>(value: &'b (dyn Val + 'v)) -> &'b (dyn Val + 'v) {
    value
        .downcast_ref::<CelList>()
        .and_then(|list| list.inner().first())
        .map_or(value, |first| first.as_ref())
}

/// `@each(base, steps)`: what is at the path, as a list.
fn each<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let [base, steps] = two(arguments)?;
    match descend(base, &steps) {
        None => Ok(CowVal::owned(CelList::from(Vec::new()))),
        Some(list) if list.downcast_ref::<CelList>().is_some() => Ok(list),
        Some(single) => Ok(CowVal::owned(CelList::from(vec![single.into_owned()]))),
    }
}

/// `@present(base, steps)`: whether there is anything at the path.
fn present<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let [base, steps] = two(arguments)?;
    Ok(CowVal::owned(CelBool::from(descend(base, &steps).is_some())))
}

/// What is at a path of names and indexes below `base`, without copying where `base` is borrowed.
fn descend<'b, 'v>(base: CowVal<'b, 'v>, steps: &CowVal<'_, 'v>) -> Option<CowVal<'b, 'v>> {
    let mut value = base;
    for step in steps.downcast_ref::<CelList>()?.inner() {
        value = match value {
            CowVal::Borrowed(container) => container.as_indexer()?.get(step.as_ref()).ok()?,
            CowVal::Owned(container) => {
                let found = container.as_indexer()?.get(step.as_ref()).ok()?;
                CowVal::Owned(found.into_owned())
            }
        };
    }
    Some(value)
}

/// `@elements(range, allowance)`: the range itself, counted.
fn elements<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let [range, allowance] = two(arguments)?;
    if let Some(allowance) = allowance.downcast_ref::<Allowance>() {
        allowance
            .take(range.as_ref())
            .map_err(|message| ExecutionError::function_error(ELEMENTS, message))?;
    }
    Ok(range)
}

/// A single value as text: strings as they are, numbers and booleans as `string(x)` prints them; none for others.
pub(super) fn plain_text(value: &dyn Val) -> Option<String> {
    if let Some(text) = value.downcast_ref::<CelString>() {
        Some(text.inner().to_owned())
    } else if let Some(number) = value.downcast_ref::<CelInt>() {
        Some(number.inner().to_string())
    } else if let Some(number) = value.downcast_ref::<CelUInt>() {
        Some(number.inner().to_string())
    } else if let Some(number) = value.downcast_ref::<CelDouble>() {
        Some(number.inner().to_string())
    } else {
        value
            .downcast_ref::<CelBool>()
            .map(|truth| truth.inner().to_string())
    }
}

/// The kind of a value, with its article, for sentences.
pub(super) fn kind_of(value: &dyn Val) -> &'static str {
    kind_named(value.get_type().name())
}

/// As [`kind_of`], from CEL's name for the type.
pub(super) fn kind_named(name: &str) -> &'static str {
    match name {
        "string" => "a string",
        "int" | "uint" | "double" => "a number",
        "bool" => "a boolean",
        "bytes" => "bytes",
        "list" => "a list",
        "map" => "an element with children",
        "null_type" | "null" => "nothing",
        "type" => "a type",
        _ => "a value of another kind",
    }
}

/// How many characters of a looked-up value are shown.
const SHOWN: usize = 200;

/// A value for people: a string in quotes, a list or an element with children in JSON's form, long ones cut.
pub(super) fn shown(value: &dyn Val) -> String {
    let mut out = String::new();
    show(value, &mut out);
    if let Some((cut, _)) = out.char_indices().nth(SHOWN) {
        out.truncate(cut);
        out.push('…');
    }
    out
}

fn show(value: &dyn Val, out: &mut String) {
    // What would be cut off again need not be written.
    if out.len() > SHOWN * 4 {
        return;
    }
    if let Some(text) = value.downcast_ref::<CelString>() {
        let text: String = text.inner().chars().take(SHOWN).collect();
        out.push_str(&Json::String(text).to_string());
    } else if let Some(list) = value.downcast_ref::<CelList>() {
        out.push('[');
        for (position, element) in list.inner().iter().take(SHOWN).enumerate() {
            if position > 0 {
                out.push_str(", ");
            }
            show(element.as_ref(), out);
        }
        out.push(']');
    } else if let Some(map) = value.downcast_ref::<CelMap>() {
        let mut keys: Vec<_> = map.inner().keys().collect();
        keys.sort();
        out.push('{');
        for (position, key) in keys.into_iter().take(SHOWN).enumerate() {
            if position > 0 {
                out.push_str(", ");
            }
            show(key.inner(), out);
            out.push_str(": ");
            if let Some(value) = map.inner().get(key) {
                show(value.as_ref(), out);
            }
        }
        out.push('}');
    } else if value.downcast_ref::<CelNull>().is_some() {
        out.push_str("null");
    } else {
        match plain_text(value) {
            Some(text) => out.push_str(&text),
            None => {
                let _infallible = write!(out, "{}", kind_of(value));
            }
        }
    }
}
