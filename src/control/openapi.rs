//! The interface as an OpenAPI document (version 3.1, whose schemas are JSON Schema of 2020-12).

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::api::Problem;
use super::operations::{Description, Operation};
use super::routes;
use crate::config::control::Role;

const ABOUT: &str = "What the daemon answers on its Unix socket and, where `control: { listen }` says so, over TCP. Times are RFC 3339 in UTC. \
                     Over TCP, whoever calls shows a token, or a browser the cookie of a session; a session's writing requests also repeat what its \
                     view says as `csrf` in the header `X-Hem-CSRF`. Fields are only ever added.";

/// The document.
pub fn document() -> Value {
    let of_components = |settings: SchemaSettings| {
        let settings = settings.with(|settings| settings.definitions_path = "/components/schemas".into());
        SchemaGenerator::new(settings)
    };
    let mut sent = of_components(SchemaSettings::draft2020_12().for_deserialize());
    let mut answered = of_components(SchemaSettings::draft2020_12().for_serialize());
    let problem = answered.subschema_for::<Problem>();
    let mut paths = Map::new();
    for operation in routes::operations() {
        let described = describe(&operation, &mut sent, &mut answered);
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method.name()] = described;
    }
    let mut schemas = sent.take_definitions(true);
    schemas.append(&mut answered.take_definitions(true));
    schemas.sort_keys();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "hem",
            "summary": "The control API of the hook execution manager hem",
            "description": ABOUT,
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "token": [] }, { "session": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {
                "Problem": {
                    "description": "What went wrong, as problem details (RFC 9457).",
                    "content": { "application/problem+json": { "schema": problem } },
                },
            },
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "A token of one of the files in `control: { tokens }`." },
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "hem-PORT",
                    "description": "The cookie of a session that began with a token; over TLS, `__Host-hem-PORT`.",
                },
            },
        },
    })
}

fn describe(operation: &Operation, sent: &mut SchemaGenerator, answered: &mut SchemaGenerator) -> Value {
    let mut description = Description {
        sent,
        answered,
        path: operation.path,
        parameters: Vec::new(),
        body: None,
        status: 200,
        content: Map::new(),
        headers: Map::new(),
    };
    (operation.describe)(&mut description);
    let Description {
        parameters,
        body,
        status,
        content,
        headers,
        ..
    } = description;
    let mut success = json!({ "description": operation.says });
    if !content.is_empty() {
        success["content"] = Value::Object(content);
    }
    if !headers.is_empty() {
        success["headers"] = Value::Object(headers);
    }
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.says,
        "responses": {
            status.to_string(): success,
            "default": { "$ref": "#/components/responses/Problem" },
        },
    });
    match operation.role {
        None => described["security"] = json!([]),
        Some(role) => described["x-hem-role"] = json!(role.name()),
    }
    if operation.role == Some(Role::Operator) {
        described["description"] = json!("For operators.");
    }
    if !parameters.is_empty() {
        described["parameters"] = Value::Array(parameters);
    }
    if let Some(body) = body {
        described["requestBody"] = body;
    }
    described
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// All references in a document.
    fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_schema_is_referred_to() {
        let document = document();
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        for reference in &found {
            let pointer = reference
                .strip_prefix('#')
                .expect("a reference within the document");
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        for name in document["components"]["schemas"]
            .as_object()
            .expect("schemas")
            .keys()
        {
            let reference = format!("#/components/schemas/{name}");
            assert!(found.contains(reference.as_str()), "{reference}");
        }
    }

    #[test]
    fn what_is_sent_and_what_is_answered_do_not_share_a_name_for_different_things() {
        let settings = || {
            SchemaSettings::draft2020_12()
                .with(|settings| settings.definitions_path = "/components/schemas".into())
        };
        let mut sent = SchemaGenerator::new(settings().for_deserialize());
        let mut answered = SchemaGenerator::new(settings().for_serialize());
        for operation in routes::operations() {
            describe(&operation, &mut sent, &mut answered);
        }
        let answered = answered.take_definitions(true);
        for (name, schema) in sent.take_definitions(true) {
            if let Some(other) = answered.get(&name) {
                assert_eq!(schema, *other, "{name}");
            }
        }
    }

    #[test]
    fn operations_have_names_of_their_own() {
        let operations = routes::operations();
        let ids: BTreeSet<_> = operations.iter().map(|operation| operation.id).collect();
        assert_eq!(ids.len(), operations.len());
    }
}
