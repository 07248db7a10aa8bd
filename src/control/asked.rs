//! What a request asks for: the parameters of its address, its body, and who sent it.

use std::error::Error;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::access::Caller;
use super::api::ErrorCode;
use super::problem::Failure;
use crate::listener::BodyError;

/// The parameters of the address.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let asked: Result<Query<T>, QueryRejection> = Query::from_request_parts(parts, state).await;
        asked
            .map(|Query(asked)| Self(asked))
            .map_err(|rejection| Failure::new(ErrorCode::BadRequest, rejection.body_text()))
    }
}

/// A part of the path, read as `T`.
pub(super) struct Named<T>(pub(super) T);

impl<T, S> FromRequestParts<S> for Named<T>
where
    T: std::str::FromStr<Err: std::fmt::Display> + Send,
    S: Send + Sync,
{
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let named: Result<Path<String>, PathRejection> = Path::from_request_parts(parts, state).await;
        let bad = |message: String| Failure::new(ErrorCode::BadRequest, message);
        let Path(text) = named.map_err(|rejection| bad(rejection.body_text()))?;
        text.parse()
            .map(Self)
            .map_err(|error: T::Err| bad(error.to_string()))
    }
}

/// The body, in JSON; an empty one stands for `{}`.
pub(super) struct Told<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Told<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let body: Result<Bytes, BytesRejection> = Bytes::from_request(request, state).await;
        let body = body.map_err(|rejection| {
            if let Some(error) = reason(&rejection) {
                let code = match error {
                    BodyError::TooLarge { .. } => ErrorCode::TooLarge,
                    BodyError::TooSlow { .. } => ErrorCode::TooSlow,
                    BodyError::CutOff(_) | BodyError::LostPlace => ErrorCode::BadRequest,
                };
                return Failure::new(code, error.to_string());
            }
            let code = match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => ErrorCode::TooLarge,
                _ => ErrorCode::BadRequest,
            };
            Failure::new(code, rejection.body_text())
        })?;
        let text: &[u8] = if body.is_empty() { b"{}" } else { &body };
        serde_json::from_slice(text)
            .map(Self)
            .map_err(|error| Failure::new(ErrorCode::BadRequest, format!("the body cannot be read: {error}")))
    }
}

/// What the listener found wrong with a body.
fn reason<'a>(rejection: &'a (dyn Error + 'static)) -> Option<&'a BodyError> {
    let mut error = Some(rejection);
    while let Some(found) = error {
        if let Some(reason) = found.downcast_ref() {
            return Some(reason);
        }
        error = found.source();
    }
    None
}

/// Who calls.
pub(super) struct By(pub(super) Caller);

impl<S: Send + Sync> FromRequestParts<S> for By {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Failure> {
        parts.extensions.get().cloned().map(Self).ok_or_else(|| {
            Failure::new(
                ErrorCode::Forbidden,
                "the kernel does not say who is calling, and orders need a name",
            )
        })
    }
}
