//! hem's stand-in for a hook manager, and its questions to one, with real libzmq sockets at the other end.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test's own machinery fails the test where it fails"
)]

mod peers;

use std::time::{Duration, Instant};

use bytes::Bytes;
use hem::sources::opennebula::publisher::Publisher;
use hem::sources::opennebula::zmtp::{Endpoint, Options, RequestError, Requester, Session, SocketType};
use tokio::sync::mpsc;
use tokio::time::timeout;

use self::peers::{LIMIT, Peer, Port, pretend};

async fn bind() -> (Publisher, mpsc::Receiver<Bytes>) {
    let any: Endpoint = "tcp://127.0.0.1:0".parse().expect("an endpoint");
    Publisher::bind(&any, &any).await.expect("free ports")
}

async fn subscriber(publisher: &Publisher, prefix: &str) -> Session {
    let mut session = Session::connect(publisher.events(), SocketType::Sub, &Options::default())
        .await
        .expect("a session");
    session.subscribe(prefix).await.expect("subscribed");
    session
}

/// Publishes and waits, however long the subscribers take within the limit.
async fn publish_numbered(publisher: &Publisher, count: usize) {
    let content = vec![b'x'; 2048];
    for number in 0..count {
        let key = format!("EVENT API one.test {number}");
        let reached = timeout(LIMIT, publisher.publish(&key, &content))
            .await
            .expect("taken");
        assert_eq!(reached, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_libzmq_subscriber_that_is_slow_to_begin_loses_nothing_of_20_000_events() {
    const COUNT: usize = 20_000;
    let (publisher, _replies) = bind().await;
    let endpoint = publisher.events().to_string();
    let mut slow = Peer::start(
        "other_end.py",
        &["subscribe", &endpoint, "EVENT", &COUNT.to_string()],
    );
    slow.expect("subscribed");
    timeout(LIMIT, publisher.wait_for_subscriber())
        .await
        .expect("it subscribes");
    // Its kernel and its library hold a small part of 40 MB; the rest must wait here until it begins to take.
    {
        let mut publishing = std::pin::pin!(publish_numbered(&publisher, COUNT));
        assert!(
            timeout(Duration::from_millis(500), &mut publishing)
                .await
                .is_err()
        );
        slow.order("begin");
        publishing.await;
    }
    timeout(LIMIT, publisher.finish()).await.expect("all is written");
    for number in 0..COUNT {
        slow.expect(&format!("EVENT API one.test {number}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finishing_writes_all_that_was_published() {
    const COUNT: usize = 5000;
    let (publisher, _replies) = bind().await;
    let mut session = subscriber(&publisher, "EVENT").await;
    timeout(LIMIT, publisher.wait_for_subscriber())
        .await
        .expect("it subscribes");
    let publish = async {
        publish_numbered(&publisher, COUNT).await;
        publisher.finish().await;
    };
    let receive = async {
        for number in 0..COUNT {
            let parts = session.receive().await.expect("a message");
            assert_eq!(parts[0], format!("EVENT API one.test {number}"));
        }
        session.receive().await.expect_err("the end")
    };
    let (_, end) = timeout(LIMIT, async { tokio::join!(publish, receive) })
        .await
        .expect("in time");
    assert_eq!(end.to_string(), "the peer closed the connection");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_get_what_they_subscribed_to_and_those_who_left_hold_nobody_up() {
    let (publisher, _replies) = bind().await;
    assert_eq!(publisher.publish("EVENT nobody", b"x").await, 0);
    let mut api = subscriber(&publisher, "EVENT API").await;
    let mut all = subscriber(&publisher, "").await;
    let gone = subscriber(&publisher, "EVENT").await;
    wait_until(|| publisher.subscribers() == 3).await;
    drop(gone);
    wait_until(|| publisher.subscribers() == 2).await;
    assert_eq!(publisher.publish("EVENT STATE VM/DONE", b"1").await, 1);
    assert_eq!(publisher.publish("EVENT API one.vm.info 1", b"2").await, 2);
    assert_eq!(publisher.publish_frames(&[b"RETRY"]).await, 1);
    let next = async |session: &mut Session| {
        timeout(LIMIT, session.receive())
            .await
            .expect("in time")
            .expect("one")
    };
    assert_eq!(next(&mut api).await, ["EVENT API one.vm.info 1", "2"]);
    assert_eq!(next(&mut all).await, ["EVENT STATE VM/DONE", "1"]);
    assert_eq!(next(&mut all).await, ["EVENT API one.vm.info 1", "2"]);
    assert_eq!(next(&mut all).await, ["RETRY"]);
    // Taking a subscription back, in the form of ZMTP 3.0.
    all.send(&[b"\x00"]).await.expect("sent");
    wait_until(|| publisher.subscribers() == 1).await;
}

async fn wait_until(holds: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < deadline, "it never came about");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_of_a_libzmq_req_is_handed_on_and_acknowledged() {
    let (publisher, mut replies) = bind().await;
    let endpoint = publisher.replies().to_string();
    let asker = Peer::start("other_end.py", &["ask", &endpoint, "0 47 PEFSR1VNRU5UUz4="]);
    let reply = timeout(LIMIT, replies.recv()).await.expect("in time");
    assert_eq!(reply.expect("a reply"), "0 47 PEFSR1VNRU5UUz4=");
    asker.expect("ACK");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_nobody_wants_are_acknowledged_too() {
    let (publisher, replies) = bind().await;
    drop(replies);
    let mut requester = Requester::new(publisher.replies().clone());
    let answer = requester.ask(b"0 1 ", LIMIT).await.expect("an answer");
    assert_eq!(answer, "ACK");
}

#[tokio::test]
async fn a_libzmq_rep_answers_one_question_after_the_other_though_it_is_restarted_between() {
    let port = Port::reserve();
    let endpoint: Endpoint = port.endpoint().parse().expect("an endpoint");
    let mut requester = Requester::new(endpoint);
    for life in 0..2 {
        let answerer = Peer::start("other_end.py", &["answer", &port.endpoint()]);
        answerer.expect("bound");
        for number in 0..3 {
            let question = format!("{life} {number} {}", "x".repeat(number * 100_000));
            let answer = requester
                .ask(question.as_bytes(), LIMIT)
                .await
                .expect("an answer");
            assert_eq!(answer, format!("you said {question}"));
        }
        drop(answerer);
    }
    let error = requester
        .ask(b"?", LIMIT)
        .await
        .expect_err("nobody listens any more");
    assert!(matches!(error, RequestError::Connect(_)), "{error}");
}

#[tokio::test]
async fn questions_without_an_answer_end_with_the_reason() {
    let deadline = Duration::from_millis(300);
    let silent: Endpoint = pretend(vec![Box::new(|_| ())]).parse().expect("an endpoint");
    let began = Instant::now();
    let error = Requester::new(silent.clone())
        .ask(b"?", deadline)
        .await
        .expect_err("no answer");
    assert!(matches!(error, RequestError::TimedOut { .. }), "{error}");
    assert!(began.elapsed() >= deadline);

    let port = Port::reserve();
    let nobody: Endpoint = port.endpoint().parse().expect("an endpoint");
    let error = Requester::new(nobody.clone())
        .ask(b"?", LIMIT)
        .await
        .expect_err("nobody listens");
    assert_eq!(error.to_string(), format!("cannot connect to {nobody}"));

    let (publisher, _replies) = bind().await;
    let error = Requester::new(publisher.events().clone())
        .ask(b"?", LIMIT)
        .await
        .expect_err("not a REP");
    let cause = std::error::Error::source(&error).expect("a cause").to_string();
    assert_eq!(
        cause,
        "the peer is a PUB socket, which does not work with REQ; is it the right port?"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_zeromq_crate_subscribes_and_asks() {
    use zeromq::{ReqSocket, Socket as _, SocketRecv as _, SocketSend as _, SubSocket, ZmqMessage};

    let (publisher, mut replies) = bind().await;
    let mut subscriber = SubSocket::new();
    subscriber
        .connect(&publisher.events().to_string())
        .await
        .expect("connected");
    subscriber.subscribe("EVENT").await.expect("subscribed");
    timeout(LIMIT, publisher.wait_for_subscriber())
        .await
        .expect("it subscribes");
    let take = async {
        for number in 0..1000 {
            let message = subscriber.recv().await.expect("a message");
            assert_eq!(
                message.get(0).expect("a key"),
                &format!("EVENT API one.test {number}")
            );
        }
    };
    timeout(LIMIT, async {
        tokio::join!(publish_numbered(&publisher, 1000), take)
    })
    .await
    .expect("in time");

    let mut asker = ReqSocket::new();
    asker
        .connect(&publisher.replies().to_string())
        .await
        .expect("connected");
    asker.send(ZmqMessage::from("0 1 x")).await.expect("sent");
    let answer = timeout(LIMIT, asker.recv())
        .await
        .expect("in time")
        .expect("an answer");
    assert_eq!(answer.get(0).expect("a part"), "ACK");
    assert_eq!(replies.recv().await.expect("a reply"), "0 1 x");
}

#[tokio::test]
async fn a_socket_file_left_behind_is_taken_over_and_one_in_use_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| Endpoint::Ipc(folder.path().join(name));
    drop(std::os::unix::net::UnixListener::bind(folder.path().join("left")).expect("bound"));
    let (publisher, _replies) = Publisher::bind(&at("left"), &at("replies"))
        .await
        .expect("taken over");
    let error = Publisher::bind(&at("left"), &at("other"))
        .await
        .expect_err("in use");
    assert_eq!(error.to_string(), format!("cannot bind {}", publisher.events()));
}
