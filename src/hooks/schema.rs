//! The JSON Schema of a hook file's documents, for editors.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::raw::{RawHook, RawLoopGuard, RawLoopLimits, RawNames, RawTrigger, Triggers, Words, Written};
use super::scalar::{Backoff, HumanDuration, Size, TimeLimit};
use super::tree::At;
use crate::quantity::{DURATION_PATTERN, SIZE_PATTERN};

/// The JSON Schema (draft 2020-12) of one YAML document in the hooks folder.
///
/// The checked-in copy is `docs/schema/hook.schema.json`; `hem schema` prints it.
pub fn json_schema() -> serde_json::Value {
    SchemaSettings::draft2020_12()
        .with_transform(RecursiveTransform(refuse_null))
        .into_generator()
        .into_root_schema_for::<RawHook>()
        .to_value()
}

/// An attribute is written with a value or not at all: `when:` with nothing behind it is a fault, not an absence.
fn refuse_null(schema: &mut Schema) {
    let null = serde_json::json!({ "type": "null" });
    if let Some(serde_json::Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(serde_json::Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.retain(|choice| *choice != null);
        if let [serde_json::Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            schema.remove("anyOf");
            for (name, value) in only {
                // The attribute's own description says more than that of its form.
                if schema.get(&name).is_none() {
                    schema.insert(name, value);
                }
            }
        }
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A type whose schema is small enough to stand where it is used.
macro_rules! inline_schema {
    ($type:ty, |$generator:ident| $schema:expr) => {
        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema($generator: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

inline_schema!(HumanDuration, |_generator| json_schema!({
    "type": "string", "pattern": format!("^{DURATION_PATTERN}$"), "examples": ["30s"]
}));
inline_schema!(TimeLimit, |_generator| json_schema!({
    "oneOf": [
        { "type": "string", "pattern": format!("^({DURATION_PATTERN}|none)$") },
        { "type": "integer", "minimum": 0, "description": "Seconds, as in OpenNebula's templates; 0 for no limit." }
    ],
    "examples": ["30s"]
}));
inline_schema!(Backoff, |_generator| json_schema!({
    "type": "string", "pattern": format!("^{DURATION_PATTERN}( *\\.\\. *{DURATION_PATTERN})?$"), "examples": ["2s..5m"]
}));
inline_schema!(Size, |_generator| json_schema!({
    "oneOf": [{ "type": "string", "pattern": format!("^{SIZE_PATTERN}$") }, { "const": 0 }], "examples": ["64KiB"]
}));
inline_schema!(RawNames, |_generator| json_schema!({
    "oneOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" }, "minItems": 1 }]
}));
inline_schema!(
    Written,
    |_generator| json_schema!({ "type": ["string", "number"] })
);
inline_schema!(Words, |_generator| json_schema!({
    "oneOf": [{ "type": "string" }, { "type": "array", "items": { "type": ["string", "number"] } }]
}));
inline_schema!(Triggers, |generator| {
    let trigger = generator.subschema_for::<RawTrigger>();
    json_schema!({ "oneOf": [trigger.clone(), { "type": "array", "items": trigger, "minItems": 1 }] })
});
inline_schema!(RawLoopGuard, |generator| {
    let limits = generator.subschema_for::<RawLoopLimits>();
    json_schema!({ "oneOf": [{ "const": "off" }, limits] })
});
