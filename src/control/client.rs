//! The command line's end of the control socket.

use std::io;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use bytes::BytesMut;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio_util::task::TaskTracker;

use super::address::{address, encoded};
use super::api::{
    AuditFilter, AuditView, EmitOrder, EmitReply, EventFilter, EventView, ExecutionFilter, ExecutionView,
    ExportFilter, ExportLine, FeedLine, HookView, LiveOutputView, MuteOrder, MuteReply, Ordered, Problem,
    ReloadOrder, ReloadReply, RetryOrder, RetryReply, Reveal, SeekOrder, SeekReply, StatusView, StopOrder,
    StopReply, Story, UnmuteOrder, UnmuteReply,
};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens on the socket.
    #[error("no hem daemon is listening on `{}`", socket.display())]
    NotReachable {
        /// The socket.
        socket: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The socket may not be used by this user.
    #[error("this user may not use the socket `{}`", socket.display())]
    NotPermitted {
        /// The socket.
        socket: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The daemon refused; the sentence is its own.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// The connection broke.
    #[error("the connection to the daemon broke")]
    Broken(#[source] hyper::Error),
    /// The daemon said something this program does not understand.
    #[error("the daemon's answer cannot be read (is it of another version?)")]
    Answer(#[source] serde_json::Error),
    /// The daemon's answer is no text.
    #[error("the daemon's answer is no text (is it of another version?)")]
    Text(#[source] std::string::FromUtf8Error),
    /// A request could not be put together.
    #[error("the request cannot be put together")]
    Request(#[source] hyper::http::Error),
}

/// A daemon that answered once. Each call makes its own connection.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
    /// The tasks that drive the connections.
    connections: TaskTracker,
}

impl Client {
    /// Finds out whether a daemon listens on `socket`.
    ///
    /// # Errors
    /// Nobody listens, or this user may not connect.
    pub async fn connect(socket: &Path) -> Result<Self, ClientError> {
        let client = Self {
            socket: socket.to_owned(),
            connections: TaskTracker::new(),
        };
        client.open().await?;
        Ok(client)
    }

    async fn open(&self) -> Result<UnixStream, ClientError> {
        UnixStream::connect(&self.socket).await.map_err(|source| {
            let socket = self.socket.clone();
            match source.kind() {
                io::ErrorKind::PermissionDenied => ClientError::NotPermitted { socket, source },
                _ => ClientError::NotReachable { socket, source },
            }
        })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Response<Incoming>, ClientError> {
        self.request(method, path, "application/json", body).await
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        accept: &'static str,
        body: Option<Vec<u8>>,
    ) -> Result<Response<Incoming>, ClientError> {
        let stream = TokioIo::new(self.open().await?);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream)
            .await
            .map_err(ClientError::Broken)?;
        // Its errors come out of the request as well.
        self.connections.spawn(async move {
            let _ = connection.await;
        });
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "hem")
            .header(ACCEPT, accept)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(ClientError::Request)?;
        let response = sender.send_request(request).await.map_err(ClientError::Broken)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let body = collect(response).await?;
        match serde_json::from_slice(&body) {
            Ok(problem) => Err(ClientError::Refused(problem)),
            Err(error) => Err(ClientError::Answer(error)),
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let body = collect(self.send(Method::GET, path, None).await?).await?;
        serde_json::from_slice(&body).map_err(ClientError::Answer)
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(ClientError::Answer)?;
        let body = collect(self.send(Method::POST, path, Some(body)).await?).await?;
        serde_json::from_slice(&body).map_err(ClientError::Answer)
    }

    async fn lines<T>(&self, path: &str) -> Result<Lines<T>, ClientError> {
        let response = self.send(Method::GET, path, None).await?;
        Ok(Lines {
            body: response.into_body(),
            buffer: BytesMut::new(),
            searched: 0,
            line: PhantomData,
        })
    }

    /// `GET /v1/status`.
    ///
    /// # Errors
    /// See [`ClientError`]; so do all further calls.
    pub async fn status(&self) -> Result<StatusView, ClientError> {
        self.get("/v1/status").await
    }

    /// `GET /metrics`: the status in Prometheus' text format, or as OpenMetrics.
    #[expect(clippy::missing_errors_doc, reason = "said at the first call")]
    pub async fn metrics(&self, openmetrics: bool) -> Result<String, ClientError> {
        let accept = if openmetrics {
            "application/openmetrics-text"
        } else {
            "text/plain"
        };
        let response = self.request(Method::GET, "/metrics", accept, None).await?;
        let text = collect(response).await?;
        String::from_utf8(text.into()).map_err(ClientError::Text)
    }

    /// `GET /v1/events`: events, newest first.
    #[expect(clippy::missing_errors_doc, reason = "said at the first call")]
    pub async fn events(&self, filter: &EventFilter) -> Result<Vec<EventView>, ClientError> {
        self.get(&address("/v1/events", filter)).await
    }

    /// `GET /v1/events?follow=true`: the listing, oldest first, then what happens.
    #[expect(clippy::missing_errors_doc, reason = "said at the first call")]
    pub async fn follow_events(&self, filter: &EventFilter) -> Result<Lines<FeedLine>, ClientError> {
        let filter = EventFilter {
            follow: true,
            ..filter.clone()
        };
        self.lines(&address("/v1/events", &filter)).await
    }

    /// `GET /v1/events/{seq}`: one event with its payload.
    #[expect(clippy::missing_errors_doc, reason = "said at the first call")]
    pub async fn event(&self, seq: u64, reveal: bool) -> Result<EventView, ClientError> {
        self.get(&address(&format!("/v1/events/{seq}"), &Reveal { reveal }))
            .await
    }

    /// `GET /v1/executions`: executions, newest first.
    #[expect(clippy::missing_errors_doc, reason = "said at the first call")]
    pub async fn executions(&self, filter: &ExecutionFilter) -> Result<Vec<ExecutionView>, ClientError> {
        self.get(&address("/v1/executions", filter)).await
    }

    /// `GET /v1/executions?follow=true`: the listing, oldest first, then what happens.
    #[expect(clippy::missing_errors_doc, reason = "said at the first call")]
    pub async fn follow_executions(&self, filter: &ExecutionFilter) -> Result<Lines<FeedLine>, ClientError> {
        let filter = ExecutionFilter {
            follow: true,
            ..filter.clone()
        };
        self.lines(&address("/v1/executions", &filter)).await
    }

    /// `GET /v1/executions/{reference}`: the whole story.
    #[expect(clippy::missing_errors_doc, reason = "said at the first call")]
    pub async fn story(&self, reference: &str, reveal: bool) -> Result<Story, ClientError> {
        let path = format!("/v1/executions/{}", encoded(reference));
        self.get(&address(&path, &Reveal { reveal })).await
    }

    /// `GET /v1/executions/{reference}/output`: what its last attempt has written so far.
    #[expect(clippy::missing_errors_doc, reason = "said at the first call")]
    pub async fn output(&self, reference: &str) -> Result<LiveOutputView, ClientError> {
        let path = format!("/v1/executions/{}/output", encoded(reference));
        self.get(&path).await
    }

    /// `POST /v1/executions/retry`.
    #[expect(clippy::missing_errors_doc, reason = "said at the first call")]
    pub async fn retry(&self, order: &RetryOrder) -> Result<RetryReply, ClientError> {
        self.post("/v1/executions/retry", order).await
    }

    /// `POST /v1/executions/{reference}/cancel`.
    #[expect(clippy::missing_errors_doc, reason = "said at the first call")]
    pub async fn cancel(&self, reference: &str) -> Result<Ordered, ClientError> {
        let path = format!("/v1/executions/{}/cancel", encoded(reference));
        self.post(&path, &serde_json::json!({})).await
    }

    /// `GET /v1/hooks`.
    #[expect(clippy::missing_errors_doc, reason = "said at the first call")]
    pub async fn hooks(&self) -> Result<Vec<HookView>, ClientError> {
        self.get("/v1/hooks").await
    }

    /// `POST /v1/hooks/{name}/enable`, `disable`, or `reset`, which takes the override back.
    #[expect(clippy::missing_errors_doc, reason = "said at the first call")]
    pub async fn set_enabled(&self, hook: &str, enabled: Option<bool>) -> Result<HookView, ClientError> {
        let what = match enabled {
            Some(true) => "enable",
            Some(false) => "disable",
            None => "reset",
        };
        let path = format!("/v1/hooks/{}/{what}", encoded(hook));
        self.post(&path, &serde_json::json!({})).await
    }

    /// `POST /v1/mutes`.
    #[expect(clippy::missing_errors_doc, reason = "said at the first call")]
    pub async fn mute(&self, order: &MuteOrder) -> Result<MuteReply, ClientError> {
        self.post("/v1/mutes", order).await
    }

    /// `POST /v1/mutes/end`.
    #[expect(clippy::missing_errors_doc, reason = "said at the first call")]
    pub async fn unmute(&self, order: &UnmuteOrder) -> Result<UnmuteReply, ClientError> {
        self.post("/v1/mutes/end", order).await
    }

    /// `POST /v1/hooks/{name}/stop`.
    #[expect(clippy::missing_errors_doc, reason = "said at the first call")]
    pub async fn stop(&self, hook: &str, order: &StopOrder) -> Result<StopReply, ClientError> {
        self.post(&format!("/v1/hooks/{}/stop", encoded(hook)), order)
            .await
    }

    /// `POST /v1/reload`.
    #[expect(clippy::missing_errors_doc, reason = "said at the first call")]
    pub async fn reload(&self, accept: bool) -> Result<ReloadReply, ClientError> {
        self.post("/v1/reload", &ReloadOrder { accept }).await
    }

    /// `POST /v1/sources/{name}/seek`.
    #[expect(clippy::missing_errors_doc, reason = "said at the first call")]
    pub async fn seek(&self, source: &str, order: &SeekOrder) -> Result<SeekReply, ClientError> {
        self.post(&format!("/v1/sources/{}/seek", encoded(source)), order)
            .await
    }

    /// `POST /v1/events`.
    #[expect(clippy::missing_errors_doc, reason = "said at the first call")]
    pub async fn emit(&self, order: &EmitOrder) -> Result<EmitReply, ClientError> {
        self.post("/v1/events", order).await
    }

    /// `GET /v1/export`: records as lines, oldest first.
    #[expect(clippy::missing_errors_doc, reason = "said at the first call")]
    pub async fn export(&self, filter: &ExportFilter) -> Result<Lines<ExportLine>, ClientError> {
        self.lines(&address("/v1/export", filter)).await
    }

    /// `GET /v1/audit`: newest first.
    #[expect(clippy::missing_errors_doc, reason = "said at the first call")]
    pub async fn audit(&self, limit: Option<usize>) -> Result<Vec<AuditView>, ClientError> {
        self.get(&address("/v1/audit", &AuditFilter { limit, cursor: None }))
            .await
    }
}

async fn collect(response: Response<Incoming>) -> Result<Bytes, ClientError> {
    let body = response
        .into_body()
        .collect()
        .await
        .map_err(ClientError::Broken)?;
    Ok(body.to_bytes())
}

/// Lines of JSON as they come.
#[derive(Debug)]
pub struct Lines<T> {
    body: Incoming,
    buffer: BytesMut,
    /// So many bytes of the buffer hold no end of a line.
    searched: usize,
    line: PhantomData<T>,
}

impl<T: DeserializeOwned> Lines<T> {
    /// The next line; none when the daemon ended the feed. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The connection broke, or a line cannot be read.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        let line = self.next_text().await?;
        line.map(|line| serde_json::from_slice(&line).map_err(ClientError::Answer))
            .transpose()
    }
}

impl<T> Lines<T> {
    /// The next line as it came, with its end; none when the daemon ended the feed. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn next_text(&mut self) -> Result<Option<BytesMut>, ClientError> {
        loop {
            let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
            if let Some(end) = unsearched.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.searched + end + 1);
                self.searched = 0;
                return Ok(Some(line));
            }
            self.searched = self.buffer.len();
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(ClientError::Broken(error)),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_listening_is_said_with_the_socket() {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("hem.sock");
        let error = Client::connect(&socket).await.expect_err("nobody listens");
        assert!(matches!(error, ClientError::NotReachable { .. }));
        assert!(error.to_string().contains("hem.sock"));
    }
}
