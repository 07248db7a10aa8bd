//! What the interface can do, as a table: the router and the OpenAPI document are both made of it.
//!
//! What goes into an operation and what comes out of it is read off its handler's signature, so the document cannot say otherwise
//! than the program does.

use std::marker::PhantomData;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::handler::Handler;
use axum::http::header::{HeaderMap, HeaderName, LINK};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::access::Door;
use super::address::address;
use super::asked::{Asked, By, Named, Told, Wordless};
use super::cursor::Page;
use super::problem::Failure;
use super::room::Room;
use crate::config::control::Role;

/// The header that says where the next page begins.
const NEXT: HeaderName = HeaderName::from_static("next-cursor");

/// Something that the interface can do.
pub(super) struct Operation {
    pub(super) method: Method,
    pub(super) path: &'static str,
    /// Names it in the document.
    pub(super) id: &'static str,
    pub(super) says: &'static str,
    /// Who may do it over TCP; none for everybody.
    pub(super) role: Option<Role>,
    pub(super) describe: fn(&mut Description<'_>),
    pub(super) handler: MethodRouter<Arc<Room>>,
}

/// How an operation is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Post,
    Delete,
}

impl Method {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Delete => "delete",
        }
    }

    const fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Delete => MethodFilter::DELETE,
        }
    }
}

impl Operation {
    fn new<H, Parts, T>(
        method: Method,
        path: &'static str,
        id: &'static str,
        role: Option<Role>,
        says: &'static str,
        handler: H,
    ) -> Self
    where
        H: Handler<T, Arc<Room>> + Signature<Parts>,
        T: 'static,
    {
        Self {
            method,
            path,
            id,
            says,
            role,
            describe: H::describe,
            handler: on(method.filter(), handler),
        }
    }

    /// Something that everybody may ask.
    pub(super) fn open<Parts, T: 'static>(
        path: &'static str,
        id: &'static str,
        says: &'static str,
        handler: impl Handler<T, Arc<Room>> + Signature<Parts>,
    ) -> Self {
        Self::new(Method::Get, path, id, None, says, handler)
    }

    /// Something that whoever may read may ask.
    pub(super) fn get<Parts, T: 'static>(
        path: &'static str,
        id: &'static str,
        says: &'static str,
        handler: impl Handler<T, Arc<Room>> + Signature<Parts>,
    ) -> Self {
        Self::new(Method::Get, path, id, Some(Role::Viewer), says, handler)
    }

    /// An operator's order.
    pub(super) fn post<Parts, T: 'static>(
        path: &'static str,
        id: &'static str,
        says: &'static str,
        handler: impl Handler<T, Arc<Room>> + Signature<Parts>,
    ) -> Self {
        Self::new(Method::Post, path, id, Some(Role::Operator), says, handler)
    }

    /// What whoever may read does about their own session.
    pub(super) fn own<Parts, T: 'static>(
        method: Method,
        path: &'static str,
        id: &'static str,
        says: &'static str,
        handler: impl Handler<T, Arc<Room>> + Signature<Parts>,
    ) -> Self {
        Self::new(method, path, id, Some(Role::Viewer), says, handler)
    }
}

/// What is said of an operation in the document, and the generators of schemas to say it with.
pub(super) struct Description<'a> {
    /// Of what is sent.
    pub(super) sent: &'a mut SchemaGenerator,
    /// Of what is answered.
    pub(super) answered: &'a mut SchemaGenerator,
    pub(super) path: &'static str,
    pub(super) parameters: Vec<Value>,
    pub(super) body: Option<Value>,
    /// The status of success.
    pub(super) status: u16,
    /// What success answers, by its type.
    pub(super) content: Map<String, Value>,
    /// The headers of success.
    pub(super) headers: Map<String, Value>,
}

impl Description<'_> {
    fn answers<T: JsonSchema>(&mut self, kind: &str, says: &str) {
        let schema = self.answered.subschema_for::<T>();
        let mut content = json!({ "schema": schema });
        if !says.is_empty() {
            content["schema"] = json!({ "type": "string", "description": says, "contentSchema": schema });
        }
        self.content.insert(kind.to_owned(), content);
    }
}

/// What a part of a handler's signature says about its operation.
pub(super) trait Describe {
    /// Adds it.
    fn describe(description: &mut Description<'_>);
}

/// A handler whose whole signature says something.
pub(super) trait Signature<Parts> {
    /// Says it.
    fn describe(description: &mut Description<'_>);
}

macro_rules! signature {
    ($($part:ident),*) => {
        impl<F, Answered, Out, $($part),*> Signature<($($part,)*)> for F
        where
            F: Fn($($part),*) -> Answered,
            Answered: Future<Output = Out>,
            Out: Describe,
            $($part: Describe,)*
        {
            fn describe(description: &mut Description<'_>) {
                $($part::describe(description);)*
                Out::describe(description);
            }
        }
    };
}

signature!();
signature!(A);
signature!(A, B);
signature!(A, B, C);
signature!(A, B, C, D);

macro_rules! says_nothing {
    ($($part:ty),*) => {
        $(impl Describe for $part {
            fn describe(_: &mut Description<'_>) {}
        })*
    };
}

says_nothing!(State<Arc<Room>>, By, Door, HeaderMap, Wordless);

impl<T: JsonSchema> Describe for Asked<T> {
    fn describe(description: &mut Description<'_>) {
        let schema = T::json_schema(description.sent).to_value();
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        let Some(properties) = schema["properties"].as_object() else {
            return;
        };
        for (name, property) in properties {
            let mut schema = property.clone();
            let says = schema
                .as_object_mut()
                .and_then(|schema| schema.remove("description"));
            description.parameters.push(json!({
                "name": name,
                "in": "query",
                "required": required.contains(&json!(name)),
                "description": says,
                "schema": schema,
            }));
        }
    }
}

impl<T> Describe for Named<T> {
    fn describe(description: &mut Description<'_>) {
        let name = description.path.split(['{', '}']).nth(1).unwrap_or_default();
        description.parameters.push(json!({
            "name": name,
            "in": "path",
            "required": true,
            "schema": { "type": "string" },
        }));
    }
}

impl<T: JsonSchema> Describe for Told<T> {
    fn describe(description: &mut Description<'_>) {
        let schema = description.sent.subschema_for::<T>();
        description.body = Some(json!({ "content": { "application/json": { "schema": schema } } }));
    }
}

impl<T: Describe> Describe for Result<T, Failure> {
    fn describe(description: &mut Description<'_>) {
        T::describe(description);
    }
}

impl<T: JsonSchema> Describe for Json<T> {
    fn describe(description: &mut Description<'_>) {
        description.answers::<T>("application/json", "");
    }
}

/// An answer that was put together by hand, and what it is.
pub(super) struct As<Kind>(Response, PhantomData<Kind>);

impl<Kind> As<Kind> {
    pub(super) const fn new(response: Response) -> Self {
        Self(response, PhantomData)
    }
}

impl<Kind> IntoResponse for As<Kind> {
    fn into_response(self) -> Response {
        self.0
    }
}

impl<Kind: Describe> Describe for As<Kind> {
    fn describe(description: &mut Description<'_>) {
        Kind::describe(description);
    }
}

/// One of two, by what was asked for.
impl<One: Describe, Other: Describe> Describe for (One, Other) {
    fn describe(description: &mut Description<'_>) {
        One::describe(description);
        Other::describe(description);
    }
}

/// Lines of JSON.
pub(super) struct Lines<T>(PhantomData<T>);

impl<T: JsonSchema> Describe for Lines<T> {
    fn describe(description: &mut Description<'_>) {
        description.answers::<T>("application/x-ndjson", "Lines, each with this in JSON.");
    }
}

/// Server-sent events.
pub(super) struct Events<T>(PhantomData<T>);

impl<T: JsonSchema> Describe for Events<T> {
    fn describe(description: &mut Description<'_>) {
        description.parameters.push(json!({
            "name": "Last-Event-ID",
            "in": "header",
            "required": false,
            "description": "The `id` of the last message that the reader has seen: what followed it comes first.",
            "schema": { "type": "string" },
        }));
        description.answers::<T>(
            "text/event-stream",
            "Server-sent events. The `event` of each is the `type` of its `data`, which has this in JSON.",
        );
    }
}

/// Text for Prometheus.
pub(super) struct Metrics;

impl Describe for Metrics {
    fn describe(description: &mut Description<'_>) {
        for kind in ["text/plain", "application/openmetrics-text"] {
            let content = json!({ "schema": { "type": "string" } });
            description.content.insert(kind.to_owned(), content);
        }
    }
}

/// JSON that no type of the interface describes: this document.
pub(super) struct AnyJson;

impl Describe for AnyJson {
    fn describe(description: &mut Description<'_>) {
        let content = json!({ "schema": { "type": "object" } });
        description.content.insert("application/json".to_owned(), content);
    }
}

/// Nothing.
pub(super) struct Nothing;

impl Describe for Nothing {
    fn describe(description: &mut Description<'_>) {
        description.status = 204;
    }
}

/// A page of a list, which names the next one.
pub(super) struct Listed<T> {
    page: Page<T>,
    next: Option<String>,
}

impl<T> Listed<T> {
    /// `with_cursor` is the filter that the page was asked for with, with another cursor.
    pub(super) fn new<F: Serialize>(
        path: &str,
        page: Page<T>,
        with_cursor: impl FnOnce(String) -> F,
    ) -> Self {
        let next = page
            .next
            .clone()
            .map(|cursor| address(path, &with_cursor(cursor)));
        Self { page, next }
    }
}

impl<T: Serialize> IntoResponse for Listed<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.page.items).into_response();
        let named = [
            (NEXT, self.page.next),
            (LINK, self.next.map(|next| format!("<{next}>; rel=\"next\""))),
        ];
        for (name, value) in named {
            if let Some(Ok(value)) = value.map(TryInto::try_into) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

impl<T: JsonSchema> Describe for Listed<T> {
    fn describe(description: &mut Description<'_>) {
        description.answers::<Vec<T>>("application/json", "");
        for (name, says) in [
            (
                "Next-Cursor",
                "The `cursor` of the next page; missing on the last one.",
            ),
            (
                "Link",
                "The address of the next page, `rel=\"next\"`; missing on the last one.",
            ),
        ] {
            let header = json!({ "description": says, "required": false, "schema": { "type": "string" } });
            description.headers.insert(name.to_owned(), header);
        }
    }
}
