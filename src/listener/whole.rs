//! Requests whose bodies are read to their end before they are answered, and answers that are known whole.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use tokio::time::timeout;

use super::connections::Place;
use super::message::{Head, Response, Serve};
use super::server::{Arrived, Exchange, Outbound, Server, is_read_to_its_end};

/// Answers for a [`Serve`].
pub(super) struct Whole<S>(pub(super) Arc<S>);

impl<S: Serve> Exchange for Whole<S> {
    async fn exchange(
        server: &Server<Self>,
        request: Arrived,
        place: &Arc<Place>,
    ) -> (hyper::Response<Outbound>, bool) {
        let Arrived {
            id,
            peer,
            parts,
            body,
        } = request;
        let head = Head {
            id,
            sender: peer,
            method: parts.method.as_str().to_owned(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().map(str::to_owned),
            has_body: !body.is_end_stream(),
            headers: parts.headers,
        };
        let (response, is_read) = server.response(head, body, place).await;
        place.peer_works();
        (on_the_wire(response), is_read)
    }

    fn shown<'a>(&self, path: &'a str) -> &'a str {
        self.0.shown(path)
    }

    fn broken(&self, why: &'static str) {
        self.0.broken(why);
    }
}

impl<S: Serve> Server<Whole<S>> {
    /// The answer, and whether the body was read to its end.
    async fn response(&self, head: Head, body: Incoming, place: &Arc<Place>) -> (Response, bool) {
        let largest = self.limits.body;
        let refused = match self.exchange.0.admit(&head) {
            Err(response) => Some(response),
            Ok(()) if body.size_hint().lower() > largest as u64 => {
                self.exchange.broken("too large");
                Some(too_large(largest))
            }
            Ok(()) => None,
        };
        if let Some(response) = refused {
            return (response, is_read_to_its_end(body).await);
        }
        let body = match timeout(self.limits.body_time, Limited::new(body, largest).collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                self.exchange.broken("too large");
                return (too_large(largest), false);
            }
            Ok(Err(error)) => {
                self.exchange.broken("cut off");
                let detail = format!("the body cannot be read: {error}");
                return (Response::problem(400, "cut off", &detail), false);
            }
            Err(_) => {
                self.exchange.broken("too slow");
                let detail = format!("the body did not arrive within {:?}", self.limits.body_time);
                return (Response::problem(408, "too slow", &detail), false);
            }
        };
        (self.answer(head, body, place).await, true)
    }

    async fn answer(&self, head: Head, body: Bytes, place: &Arc<Place>) -> Response {
        if !place.hem_works() {
            // The connection ends at this: nothing must begin that the sender would not hear of.
            return std::future::pending().await;
        }
        // On its own: a sender that goes away must not end what has begun. It keeps the connection's place until then, or whoever
        // hangs up at once could begin any number.
        let place = Arc::clone(place);
        let answer = Arc::clone(&self.exchange.0).answer(head, body);
        let answer = self.tasks.spawn(async move {
            let answer = answer.await;
            drop(place);
            answer
        });
        answer.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a request could not be answered, a fault of hem");
            Response::problem(500, "fault", "hem failed to answer")
        })
    }
}

fn too_large(largest: usize) -> Response {
    let detail = format!("the body is larger than {largest} bytes");
    Response::problem(413, "too large", &detail)
}

pub(super) fn on_the_wire(response: Response) -> hyper::Response<Outbound> {
    let body = Full::new(response.body)
        .map_err(|never| match never {})
        .boxed_unsync();
    let mut wire = hyper::Response::new(body);
    *wire.status_mut() =
        hyper::StatusCode::from_u16(response.status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = wire.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(response.content_type));
    for (name, value) in response.headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    wire
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::atomic::{AtomicU64, Ordering};

    use tokio_util::sync::CancellationToken;
    use tokio_util::task::TaskTracker;

    use super::super::connections::Connections;
    use super::super::server::RequestIds;
    use super::*;
    use crate::config::listen::HttpLimits;

    /// Counts what is answered.
    #[derive(Debug, Default)]
    struct Counting(AtomicU64);

    impl Serve for Counting {
        fn admit(&self, _head: &Head) -> Result<(), Response> {
            Ok(())
        }

        async fn answer(self: Arc<Self>, _head: Head, _body: Bytes) -> Response {
            self.0.fetch_add(1, Ordering::Relaxed);
            Response::problem(400, "test", "as it should")
        }

        fn broken(&self, _why: &'static str) {}
    }

    fn server<S>(service: &Arc<S>) -> Server<Whole<S>> {
        Server {
            exchange: Whole(Arc::clone(service)),
            limits: HttpLimits::default(),
            trusted_proxies: Vec::new(),
            tls: None,
            until: CancellationToken::new(),
            tasks: TaskTracker::new(),
            ids: RequestIds::new(),
        }
    }

    fn head() -> Head {
        Head {
            id: "1".to_owned(),
            sender: IpAddr::from([127, 0, 0, 1]),
            method: "POST".to_owned(),
            path: "/x".to_owned(),
            query: None,
            has_body: true,
            headers: hyper::HeaderMap::new(),
        }
    }

    #[tokio::test]
    async fn nothing_begins_for_a_connection_that_lost_its_place() {
        let service = Arc::new(Counting::default());
        let server = server(&service);
        let connections = Connections::new(1);
        let lost = Arc::new(connections.enter().expect("a place"));
        // Between the last byte of the body and the answer.
        let kept = Arc::new(connections.enter().expect("its place"));
        assert_eq!(server.answer(head(), Bytes::new(), &kept).await.status, 400);
        tokio::select! {
            biased;
            _ = server.answer(head(), Bytes::new(), &lost) => panic!("an answer that nobody would hear"),
            () = lost.lost() => {}
        }
        server.tasks.close();
        server.tasks.wait().await;
        assert_eq!(service.0.load(Ordering::Relaxed), 1);
    }

    /// Answers when it is told to.
    #[derive(Debug, Default)]
    struct Slow(tokio::sync::Notify);

    impl Serve for Slow {
        fn admit(&self, _head: &Head) -> Result<(), Response> {
            Ok(())
        }

        async fn answer(self: Arc<Self>, _head: Head, _body: Bytes) -> Response {
            self.0.notified().await;
            Response::problem(400, "test", "as it should")
        }

        fn broken(&self, _why: &'static str) {}
    }

    #[tokio::test]
    async fn whoever_hangs_up_gives_no_place_back_before_its_request_is_answered() {
        let service = Arc::new(Slow::default());
        let server = server(&service);
        let connections = Connections::new(1);
        let place = Arc::new(connections.enter().expect("a place"));
        tokio::select! {
            biased;
            _ = server.answer(head(), Bytes::new(), &place) => panic!("an answer that nobody gave"),
            () = tokio::task::yield_now() => {}
        }
        drop(place);
        assert!(connections.enter().is_none(), "hem works on it still");
        service.0.notify_one();
        server.tasks.close();
        server.tasks.wait().await;
        assert!(connections.enter().is_some());
    }
}
