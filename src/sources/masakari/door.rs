//! Which requests are taken, and who answers them.

use std::sync::Arc;

use bytes::Bytes;

use super::answer;
use super::authentication::Authentication;
use crate::config::MasakariSource;
use crate::engine::intake::Intake;
use crate::engine::records::Records;
use crate::listener::{Head, Response, Serve};

/// The whole API of one source.
pub(super) struct Door {
    source: String,
    names_source: bool,
    rules: MasakariSource,
    authentication: Authentication,
    intake: Intake,
    records: Records,
}

impl Door {
    pub(super) fn new(
        source: String,
        names_source: bool,
        rules: MasakariSource,
        authentication: Authentication,
        intake: Intake,
        records: Records,
    ) -> Self {
        Self {
            source,
            names_source,
            rules,
            authentication,
            intake,
            records,
        }
    }
}

impl Serve for Door {
    fn admit(&self, _: &Head) -> Result<(), Response> {
        Ok(())
    }

    async fn answer(self: Arc<Self>, head: Head, _: Bytes) -> Response {
        match self.authentication.admit(&head).await {
            Ok(_) => answer::page(404, "Not Found", "The resource could not be found.", ""),
            Err(refusal) => refusal,
        }
    }

    fn broken(&self, why: &'static str) {
        tracing::debug!(source = self.source, why, "something came that is no request");
    }
}
