//! Requests whose bodies are read as they come, and answers that take their time, for whoever has an HTTP service of their own.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::oneshot;
use tokio::task::JoinError;
use tokio::time::{Sleep, sleep};

use super::connections::Place;
use super::message::Response;
use super::server::{Arrived, Exchange, Outbound, Server, is_read_to_its_end};
use super::whole::on_the_wire;

/// Who sent a request; stands among its extensions.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The address it came from.
    pub address: IpAddr,
    /// Names the request in the log and in the answer.
    pub request: String,
}

/// Why a body cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is larger than allowed.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// What is allowed.
        limit: usize,
    },
    /// It did not arrive in time.
    #[error("the body did not arrive within {limit:?}")]
    TooSlow {
        /// The time that it had.
        limit: Duration,
    },
    /// It ended too early, or is no HTTP.
    #[error("the body is cut off")]
    CutOff(#[source] hyper::Error),
    /// The connection had to make place for another one.
    #[error("the connection made place for another one")]
    LostPlace,
}

/// The body of a request, within its limits.
#[derive(Debug)]
pub struct Inbound {
    body: Option<Incoming>,
    left: usize,
    limit: usize,
    time: Duration,
    late: Pin<Box<Sleep>>,
    place: Arc<Place>,
    /// The peer has done its part: all of the body is here.
    is_whole: bool,
    /// Takes what nobody read.
    unread: Option<oneshot::Sender<Incoming>>,
}

impl Body for Inbound {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.is_whole {
            return Poll::Ready(None);
        }
        if self.size_hint().lower() > self.left as u64 {
            return Poll::Ready(Some(Err(BodyError::TooLarge { limit: self.limit })));
        }
        if self.late.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(BodyError::TooSlow { limit: self.time })));
        }
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        match ready!(Pin::new(body).poll_frame(context)) {
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                match self.left.checked_sub(length) {
                    Some(left) => {
                        self.left = left;
                        Poll::Ready(Some(Ok(frame)))
                    }
                    None => Poll::Ready(Some(Err(BodyError::TooLarge { limit: self.limit }))),
                }
            }
            Some(Err(error)) => Poll::Ready(Some(Err(BodyError::CutOff(error)))),
            None => {
                self.is_whole = true;
                // The connection ends where it lost its place: nothing must begin that the sender would not hear of.
                if self.place.hem_works() {
                    Poll::Ready(None)
                } else {
                    Poll::Ready(Some(Err(BodyError::LostPlace)))
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_whole
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        if let (Some(body), Some(unread)) = (self.body.take(), self.unread.take())
            && !self.is_whole
        {
            let _ = unread.send(body);
        }
    }
}

/// The body of an answer. The connection keeps its place until it has been sent.
struct Sent<B> {
    body: Pin<Box<B>>,
    place: Arc<Place>,
}

impl<B: Body<Data = Bytes>> Body for Sent<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.body.as_mut().poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Sent<B> {
    fn drop(&mut self) {
        self.place.peer_works();
    }
}

/// Answers by a service.
pub(super) struct Streamed<S>(pub(super) S);

impl<S, B> Exchange for Streamed<S>
where
    S: hyper::service::Service<
            hyper::Request<Inbound>,
            Response = hyper::Response<B>,
            Error = Infallible,
            Future: Send + 'static,
        > + Send
        + Sync
        + 'static,
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    async fn exchange(
        server: &Server<Self>,
        request: Arrived,
        place: &Arc<Place>,
    ) -> (hyper::Response<Outbound>, bool) {
        let Arrived {
            id,
            peer,
            mut parts,
            body,
        } = request;
        let is_whole = body.is_end_stream();
        if is_whole && !place.hem_works() {
            // The connection ends at this: nothing must begin that the sender would not hear of.
            return std::future::pending().await;
        }
        parts.extensions.insert(Peer {
            address: peer,
            request: id,
        });
        let (unread, mut left_over) = oneshot::channel();
        let limits = &server.limits;
        let inbound = Inbound {
            body: Some(body),
            left: limits.body,
            limit: limits.body,
            time: limits.body_time,
            late: Box::pin(sleep(limits.body_time)),
            place: Arc::clone(place),
            is_whole,
            unread: Some(unread),
        };
        let request = hyper::Request::from_parts(parts, inbound);
        let response = match server.answer(request, place).await {
            Ok(Ok(response)) => {
                let place = Arc::clone(place);
                response.map(|body| {
                    let body = Box::pin(body);
                    Sent { body, place }.map_err(Into::into).boxed_unsync()
                })
            }
            Ok(Err(never)) => match never {},
            Err(error) => {
                tracing::error!(%error, "a request could not be answered, a fault of hem");
                place.peer_works();
                on_the_wire(Response::problem(500, "fault", "hem failed to answer"))
            }
        };
        let is_read = match left_over.try_recv() {
            Ok(body) => is_read_to_its_end(body).await,
            Err(_) => true,
        };
        (response, is_read)
    }

    fn broken(&self, why: &'static str) {
        tracing::debug!(why, "something came that is no request or did not become one");
    }
}

impl<S> Server<Streamed<S>>
where
    S: hyper::service::Service<hyper::Request<Inbound>, Response: Send + 'static, Error = Infallible>,
    S::Future: Send + 'static,
{
    async fn answer(
        &self,
        request: hyper::Request<Inbound>,
        place: &Arc<Place>,
    ) -> Result<Result<S::Response, Infallible>, JoinError> {
        // On its own: a sender that goes away must not end what has begun. It keeps the connection's place until then, or whoever
        // hangs up at once could begin any number.
        let place = Arc::clone(place);
        let answer = self.exchange.0.call(request);
        let answer = self.tasks.spawn(async move {
            let answer = answer.await;
            drop(place);
            answer
        });
        answer.await
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Empty;
    use hyper::service::service_fn;
    use tokio::sync::Notify;
    use tokio_util::sync::CancellationToken;
    use tokio_util::task::TaskTracker;

    use super::super::connections::Connections;
    use super::super::server::RequestIds;
    use super::*;
    use crate::config::listen::HttpLimits;

    #[tokio::test]
    async fn whoever_hangs_up_gives_no_place_back_before_its_request_is_answered() {
        let go_on = Arc::new(Notify::new());
        let told = Arc::clone(&go_on);
        let service = service_fn(move |_request: hyper::Request<Inbound>| {
            let told = Arc::clone(&told);
            async move {
                told.notified().await;
                Ok::<_, Infallible>(hyper::Response::new(Empty::<Bytes>::new()))
            }
        });
        let limits = HttpLimits::default();
        let server = Server {
            exchange: Streamed(service),
            limits: limits.clone(),
            trusted_proxies: Vec::new(),
            tls: None,
            until: CancellationToken::new(),
            tasks: TaskTracker::new(),
            ids: RequestIds::new(),
        };
        let connections = Connections::new(1);
        let place = Arc::new(connections.enter().expect("a place"));
        // All of the request is here.
        assert!(place.hem_works());
        let request = hyper::Request::new(Inbound {
            body: None,
            left: 0,
            limit: 0,
            time: limits.body_time,
            late: Box::pin(sleep(limits.body_time)),
            place: Arc::clone(&place),
            is_whole: true,
            unread: None,
        });
        tokio::select! {
            biased;
            _ = server.answer(request, &place) => panic!("an answer that nobody gave"),
            () = tokio::task::yield_now() => {}
        }
        drop(place);
        assert!(connections.enter().is_none(), "hem works on it still");
        go_on.notify_one();
        server.tasks.close();
        server.tasks.wait().await;
        assert!(connections.enter().is_some());
    }
}
