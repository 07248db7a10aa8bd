//! Who may use the notifications API: by a file of users, by shared tokens, and by Keystone as in front of Masakari itself.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says where"
)]

mod daemon;
mod http_stand_in;
mod peers;
mod recorded;
mod service;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use daemon::{House, LIMIT, until};
use http_stand_in::StandIn;
use serde_json::{Value, json};
use service::Service;

/// An answer: the status, the head, the body.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn has(&self, line: &str) -> bool {
        self.head.lines().any(|known| known.eq_ignore_ascii_case(line))
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

struct Site {
    house: House,
    service: Service,
    address: String,
}

impl Site {
    async fn open(house: House, auth: &str) -> Self {
        service::configure(
            &house,
            &format!("  ha: {{ type: masakari, listen: \"127.0.0.1:0\", auth: {auth} }}\n"),
        );
        let file = house.path("hem.yaml");
        let text = std::fs::read_to_string(&file).expect("a file");
        std::fs::write(&file, text.replace("sources: {}\n", "sources:\n")).expect("a file");
        let mut service = Service::start(&house);
        let status = service
            .until("it takes notifications", |status| {
                status.sources.get("ha").is_some_and(|source| source.connected)
            })
            .await;
        let url = &status.sources["ha"].endpoint;
        let address = url.split('/').nth(2).expect("an address").to_owned();
        Self {
            house,
            service,
            address,
        }
    }

    fn ask(&self, request: &str, headers: &[String], body: &str) -> Answer {
        ask(&self.address, request, headers, body)
    }

    /// The list of notifications, asked for with this header.
    fn list(&self, header: &str) -> Answer {
        let headers: Vec<String> = Some(header.to_owned())
            .filter(|header| !header.is_empty())
            .into_iter()
            .collect();
        self.ask("GET /v1/notifications", &headers, "")
    }
}

fn ask(address: &str, request: &str, headers: &[String], body: &str) -> Answer {
    let mut text = format!("{request} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for header in headers {
        text += &format!("{header}\r\n");
    }
    if !body.is_empty() {
        text += &format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        );
    }
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    write!(stream, "{text}\r\n{body}").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Answer {
        status: status.expect("a status"),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

/// More than are checked and may wait at once.
const GUESSES: usize = 40;

fn basic(user: &str, password: &str) -> String {
    format!(
        "Authorization: Basic {}",
        STANDARD.encode(format!("{user}:{password}"))
    )
}

/// `auth:` that asks this Keystone, whose password for hem stands in the house.
fn keystone_rules(house: &House, keystone: &StandIn, more: &str) -> String {
    std::fs::write(house.path("password"), "PASSWORD-of-hem\n").expect("a file");
    format!(
        "{{ keystone: {{ url: \"{}\", user: {{ username: hem, password: {{ file: password }}, project: service }}{more} }} }}",
        keystone.url()
    )
}

fn token_of(keystone: &mut StandIn, user: &str) -> String {
    let answer = keystone.tell(json!({ "do": "token", "user": user }));
    format!("X-Auth-Token: {}", answer["token"].as_str().expect("a token"))
}

/// The questions about tokens that Keystone was asked.
fn validations(keystone: &mut StandIn) -> usize {
    let calls = keystone.calls();
    calls
        .iter()
        .filter(|call| call.starts_with("GET /v3/auth/tokens"))
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keystone_says_who_calls_and_is_asked_once_for_each_token() {
    let mut keystone = StandIn::keystone();
    let house = House::new();
    let rules = keystone_rules(&house, &keystone, "");
    let site = Site::open(house, &rules).await;
    let unauthorized = json!({"error": {
        "code": 401, "title": "Unauthorized", "message": "The request you have made requires authentication.",
    }});
    for header in [
        "",
        "X-Auth-Token: none-such",
        "X-Auth-Token:",
        "Authorization: Basic Ym9iOng=",
    ] {
        for request in ["GET /v1/notifications", "GET /v1/", "POST /v1/notifications"] {
            let headers: Vec<String> = Some(header.to_owned())
                .filter(|header| !header.is_empty())
                .into_iter()
                .collect();
            let answer = site.ask(request, &headers, "");
            assert_eq!(answer.status, 401, "{request} {header}: {answer:?}");
            assert_eq!(answer.json(), unauthorized);
            let challenge = format!("WWW-Authenticate: Keystone uri=\"{}\"", keystone.url());
            assert!(answer.has(&challenge), "{answer:?}");
            assert!(
                answer
                    .head
                    .to_ascii_lowercase()
                    .contains("x-openstack-request-id: req-"),
                "{answer:?}"
            );
        }
    }
    assert_eq!(
        site.ask("GET /", &[], "").status,
        200,
        "the versions are for everybody"
    );

    let demo = token_of(&mut keystone, "demo");
    let answer = site.list(&demo);
    assert_eq!(answer.status, 403, "{answer:?}");
    assert_eq!(
        answer.body,
        "{\"forbidden\": {\"code\": 403, \"message\": \"Policy doesn't allow os_masakari_api:notifications:index to be performed.\"}}"
    );
    let body = json!({"notification": {
        "type": "PROCESS", "hostname": "node1", "generated_time": "2026-11-21T23:00:00",
        "payload": {"event": "STOPPED", "process_name": "nova-compute"},
    }})
    .to_string();
    let answer = site.ask("POST /v1/notifications", std::slice::from_ref(&demo), &body);
    assert!(
        answer.body.contains("os_masakari_api:notifications:create"),
        "{answer:?}"
    );

    let nova = token_of(&mut keystone, "nova");
    validations(&mut keystone);
    for _ in 0..5 {
        assert_eq!(site.list(&nova).status, 200);
    }
    assert_eq!(validations(&mut keystone), 1);

    // Known tokens go on while Keystone is away; of others nobody knows.
    let late = token_of(&mut keystone, "nova");
    keystone.go_away();
    assert_eq!(site.list(&nova).status, 200);
    let answer = site.list(&late);
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.has("Content-Type: text/html; charset=UTF-8"), "{answer:?}");
    assert!(
        answer
            .body
            .contains("The Keystone service is temporarily unavailable."),
        "{answer:?}"
    );
    keystone.come_back();
    // That it was away is believed for a moment.
    until("Keystone is asked again", || site.list(&late).status == 200).await;
    for how in ["http500", "garbage", "close"] {
        let other = token_of(&mut keystone, "nova");
        keystone.tell(json!({ "do": "break", "how": how }));
        assert_eq!(site.list(&other).status, 503, "{how}");
        assert_eq!(site.list(&other).status, 200, "{how}");
    }
    let log = site.service.log();
    for secret in ["PASSWORD-of", "gAAAAA"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_may_not_look_at_tokens_logs_in_once_all_the_same() {
    let mut keystone = StandIn::keystone();
    let roles = |roles: &[&str]| {
        json!({
            "do": "user", "name": "hem", "password": "PASSWORD-of-hem", "project": "service", "roles": roles,
        })
    };
    keystone.tell(roles(&["member"]));
    let house = House::new();
    let rules = keystone_rules(&house, &keystone, "");
    let site = Site::open(house, &rules).await;
    let nova = token_of(&mut keystone, "nova");
    for _ in 0..5 {
        assert_eq!(site.list(&nova).status, 503);
    }
    let logins = keystone.calls();
    let logins = logins.iter().filter(|call| call.starts_with("POST")).count();
    assert_eq!(logins, 1, "another token of the same user may not either");
    site.service
        .until_logged("Keystone does not take hem's own token (status 403)")
        .await;

    // Keystone tells of new roles with a new token.
    keystone.tell(roles(&["service"]));
    keystone.tell(json!({ "do": "revoke", "user": "hem" }));
    assert_eq!(site.list(&nova).status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_end_and_hems_own_is_renewed() {
    let mut keystone = StandIn::keystone();
    let house = House::new();
    let rules = keystone_rules(&house, &keystone, ", roles: [Member, service]");
    std::fs::write(house.path("password"), "wrong\n").expect("a file");
    let site = Site::open(house, &rules).await;
    let nova = token_of(&mut keystone, "nova");
    assert_eq!(site.list(&nova).status, 503, "hem itself is not let in");
    assert_eq!(site.list(&nova).status, 503);
    let logins = keystone
        .calls()
        .iter()
        .filter(|call| call.starts_with("POST"))
        .count();
    assert_eq!(logins, 1, "a wrong password is not tried at once again");
    std::fs::write(site.house.path("password"), "PASSWORD-of-hem\n").expect("a file");
    assert_eq!(site.list(&nova).status, 403, "it has another role than those");
    let demo = token_of(&mut keystone, "demo");
    assert_eq!(site.list(&demo).status, 200);

    // Addresses of another project are not those of the caller's.
    let project = keystone.tell(json!({ "do": "user", "name": "demo" }))["project_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let at = |project: &str| {
        site.ask(
            &format!("GET /v1/{project}/notifications"),
            std::slice::from_ref(&demo),
            "",
        )
    };
    assert_eq!(at(&project).status, 200);
    let answer = at("0123456789abcdef0123456789abcdef");
    assert_eq!(answer.status, 400, "{answer:?}");

    keystone.tell(json!({ "do": "revoke", "user": "hem" }));
    let another = token_of(&mut keystone, "demo");
    assert_eq!(site.list(&another).status, 200, "hem gets a token anew");

    // Not so short that it ends before it is used; how long that takes is the machine's matter.
    let short = [2, 8, 32].into_iter().find_map(|seconds| {
        keystone.tell(json!({ "do": "lifetime", "seconds": seconds }));
        let token = token_of(&mut keystone, "demo");
        (site.list(&token).status == 200).then_some(token)
    });
    let short = short.expect("a token that is used before its end");
    until("the token has ended, whatever is kept of it", || {
        site.list(&short).status == 401
    })
    .await;
    assert_eq!(site.list(&another).status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_users_is_what_htpasswd_makes_and_is_read_again() {
    let house = House::new();
    // `secret` in all three; made with `htpasswd -nbB`, `htpasswd -nb` and `htpasswd -nbs`.
    let users = "bcrypt:$2y$05$Jj5/p78G5xe9UkfnShcbC.ZQKp1/PuERzuR4Jifeden8JYnOTs/82\n\
                 md5:$apr1$kRPDdask$F2K4M7XkD6GUXwW0uTTG9.\nsha:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n";
    std::fs::write(house.path("users"), users).expect("a file");
    let site = Site::open(house, "{ http_basic: { file: users } }").await;
    for user in ["bcrypt", "md5", "sha"] {
        assert_eq!(site.list(&basic(user, "secret")).status, 200, "{user}");
        assert_eq!(site.list(&basic(user, "wrong")).status, 401, "{user}");
    }
    // A browser that knows the password would send it along for any page.
    let origin = "Origin: https://evil.example".to_owned();
    let of_a_page = site.ask("GET /v1/notifications", &[basic("sha", "secret"), origin], "");
    assert_eq!(of_a_page.status, 403, "{of_a_page:?}");
    let answer = site.list("");
    assert_eq!(answer.status, 401, "{answer:?}");
    assert!(
        answer.has("WWW-Authenticate: Basic realm=\"instance-ha\", charset=\"UTF-8\""),
        "{answer:?}"
    );
    assert_eq!(answer.json()["error"]["code"], 401);
    std::fs::write(site.house.path("users"), users.replace("md5:", "new:")).expect("a file");
    until("the new user is let in", || {
        site.list(&basic("new", "secret")).status == 200
    })
    .await;
    assert_eq!(site.list(&basic("md5", "secret")).status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_is_slow_to_check_holds_up_nobody_else() {
    let house = House::new();
    // Of a high cost, as of `htpasswd -nbB -C 12`; no password has this hash.
    let users = "slow:$2y$12$K/0OTVd9bBpmYfTTOd.KqulxYVIFCYwBcqsrWdwl4lFxLmBuGLx/a\n";
    std::fs::write(house.path("users"), users).expect("a file");
    let site = Site::open(house, "{ http_basic: { file: users } }").await;
    let statuses: Arc<Mutex<Vec<u16>>> = Arc::default();
    let guesses: Vec<_> = (0..GUESSES)
        .map(|number| {
            let (statuses, address) = (Arc::clone(&statuses), site.address.clone());
            let header = basic("slow", &format!("guess {number}"));
            std::thread::spawn(move || {
                let answer = ask(&address, "GET /v1/notifications", &[header], "");
                statuses.lock().expect("a lock").push(answer.status);
            })
        })
        .collect();
    let answered = |status: u16| {
        let statuses = statuses.lock().expect("a lock");
        statuses.iter().filter(|one| **one == status).count()
    };
    // From then on all who may be checked are, and the others wait in a line.
    until("the line is full", || answered(503) > 0).await;
    let before = answered(401);
    for _ in 0..20 {
        assert_eq!(site.ask("GET /", &[], "").status, 200);
    }
    let meanwhile = answered(401) - before;
    assert!(
        meanwhile < GUESSES / 4,
        "{meanwhile} were checked before twenty others were answered"
    );
    for guess in guesses {
        guess.join().expect("an answer");
    }
    assert!(answered(401) > 0);
    assert_eq!(answered(401) + answered(503), GUESSES, "nobody guessed right");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_and_a_new_token_both_work_until_the_old_one_is_taken_away() {
    let house = House::new();
    for name in ["old", "new"] {
        std::fs::write(house.path(name), format!("{name}-token\n")).expect("a file");
    }
    let site = Site::open(house, "{ token: { secrets: [ { file: old }, { file: new } ] } }").await;
    let of = |token: &str| site.list(&format!("X-Auth-Token: {token}")).status;
    assert_eq!((of("old-token"), of("new-token")), (200, 200));
    assert_eq!(
        (of("other"), of("old-toke"), site.list("").status),
        (401, 401, 401)
    );
    std::fs::write(site.house.path("old"), "newest-token\n").expect("a file");
    until("the newest token is taken", || of("newest-token") == 200).await;
    assert_eq!((of("old-token"), of("new-token")), (401, 200));
}
