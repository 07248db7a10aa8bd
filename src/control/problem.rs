//! What is said when something cannot be done: problem details (RFC 9457).

use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse, Json, Response};

use super::api::{ErrorCode, Problem};
use super::query::QueryError;
use crate::engine::handle::{OrderError, Stopping};
use crate::store::ReadError;

/// An answer that is no success.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    code: ErrorCode,
    detail: String,
    hint: Option<String>,
}

impl Failure {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let status = match code {
            ErrorCode::BadRequest => StatusCode::BAD_REQUEST,
            ErrorCode::NotFound => StatusCode::NOT_FOUND,
            ErrorCode::NotPossible => StatusCode::CONFLICT,
            ErrorCode::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            ErrorCode::Unauthenticated => StatusCode::UNAUTHORIZED,
            ErrorCode::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            ErrorCode::TooSlow => StatusCode::REQUEST_TIMEOUT,
            ErrorCode::Forbidden => StatusCode::FORBIDDEN,
            ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorCode::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            ErrorCode::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::StoreUnreadable | ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self {
            status,
            code,
            detail: message.into(),
            hint: None,
        }
    }

    pub(super) fn with_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let problem = Problem {
            kind: "about:blank".to_owned(),
            title: self.status.canonical_reason().unwrap_or_default().to_owned(),
            status: self.status.as_u16(),
            detail: self.detail,
            code: self.code,
            hint: self.hint,
        };
        let mut response = (self.status, Json(problem)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }
}

impl From<Stopping> for Failure {
    fn from(stopping: Stopping) -> Self {
        Self::new(ErrorCode::Stopping, stopping.to_string())
    }
}

impl From<OrderError> for Failure {
    fn from(error: OrderError) -> Self {
        let message = error.to_string();
        match error {
            OrderError::Stopping(_) => Self::new(ErrorCode::Stopping, message),
            OrderError::NoSuchExecution(key) => {
                let hint = format!("`hem show {}` shows what event {} caused", key.event, key.event);
                Self::new(ErrorCode::NotFound, message).with_hint(Some(hint))
            }
            OrderError::NoSuchSource(_) => Self::new(ErrorCode::NotFound, message),
            OrderError::NoSuchHook(_) => Self::new(ErrorCode::NotFound, message)
                .with_hint(Some("`hem hooks` lists the hooks in force".to_owned())),
            OrderError::NotPossible(_) => Self::new(ErrorCode::NotPossible, message),
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        QueryError::from(error).into()
    }
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Question { message, hint } => {
                Self::new(ErrorCode::BadRequest, message).with_hint(hint)
            }
            QueryError::Absent { message, hint } => Self::new(ErrorCode::NotFound, message).with_hint(hint),
            QueryError::Read(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a query failed");
                Self::new(ErrorCode::StoreUnreadable, error.to_string())
                    .with_hint(Some("the daemon's log says more".to_owned()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_manual_lists_every_code_with_its_status() {
        let schema = schemars::schema_for!(ErrorCode).to_value();
        let known: BTreeSet<(String, u16)> = schema["oneOf"]
            .as_array()
            .expect("the codes")
            .iter()
            .map(|code| {
                let value = code["const"].clone();
                let read: ErrorCode = serde_json::from_value(value.clone()).expect("a code");
                let name = value.as_str().expect("a name").to_owned();
                (name, Failure::new(read, "").status.as_u16())
            })
            .collect();
        let manual = include_str!("../../docs/control-api.md");
        let (_, table) = manual.split_once("| code | status | when |").expect("the table");
        let listed: BTreeSet<(String, u16)> = table
            .lines()
            .skip(2)
            .take_while(|line| line.starts_with('|'))
            .flat_map(|line| {
                let mut cells = line.split('|').skip(1);
                let codes = cells.next().expect("codes").to_owned();
                let status: u16 = cells.next().expect("a status").trim().parse().expect("a number");
                let names: Vec<_> = codes.split('`').skip(1).step_by(2).map(str::to_owned).collect();
                names.into_iter().map(move |name| (name, status))
            })
            .collect();
        assert!(!known.is_empty());
        assert_eq!(listed, known);
    }
}
