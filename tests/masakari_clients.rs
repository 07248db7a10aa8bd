//! What the world sends to Masakari's API with: openstacksdk, the `openstack` command line and the sender of masakari-monitors, each with
//! each way to say who calls.

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

use std::process::Command;

use daemon::House;
use http_stand_in::StandIn;
use serde_json::{Value, json};
use service::{Said, Service, in_state, said};

/// What installs the clients, for whoever lacks them.
const INSTALL: &str = "run `make test-deps`, or: pip install python-openstackclient python-masakariclient eventlet oslo.log oslo.config && \
                       pip install --no-deps masakari-monitors; HEM_TEST_PYTHON names the Python that has them";

/// The token that hem and its callers share.
const TOKEN: &str = "a-shared-token";

/// A way to say who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Auth {
    None,
    HttpBasic,
    AdminToken,
    /// By Keystone, as a user who may or may not do it.
    Password(&'static str),
}

/// hem as a Masakari, with a hook for everything.
struct Site {
    house: House,
    service: Service,
    keystone: StandIn,
    /// Where its API is: with `/v1`.
    endpoint: String,
}

impl Site {
    async fn open(auth: Auth) -> Self {
        let mut keystone = StandIn::keystone();
        let house = House::new();
        house.script("ok.sh", "#!/bin/sh\n").hook(
            "all",
            "name: all\ntrigger: { masakari: {} }\ncommand: ok.sh\nloop_guard: off\n",
        );
        let users = house.path("users");
        // The password is `secret`; made with `htpasswd -nbB`.
        let bcrypt = "alice:$2y$05$Jj5/p78G5xe9UkfnShcbC.ZQKp1/PuERzuR4Jifeden8JYnOTs/82\n";
        std::fs::write(&users, bcrypt).expect("a file");
        std::fs::write(house.path("token"), format!("{TOKEN}\n")).expect("a file");
        std::fs::write(house.path("password"), "PASSWORD-of-hem\n").expect("a file");
        let rules = match auth {
            Auth::None => "none".to_owned(),
            Auth::HttpBasic => "{ http_basic: { file: users } }".to_owned(),
            Auth::AdminToken => "{ token: { secrets: [ { file: token } ] } }".to_owned(),
            Auth::Password(_) => format!(
                "{{ keystone: {{ url: \"{}\", user: {{ username: hem, password: {{ file: password }}, project: service }} }} }}",
                keystone.url()
            ),
        };
        configure(
            &house,
            &format!(
                "  ha:\n    type: masakari\n    listen: 127.0.0.1:0\n    auth: {rules}\n    \
                 segments: {{ rack1: {{ hosts: {{ node1: {{}}, node2: {{}} }} }} }}\n"
            ),
        );
        let (service, endpoint) = started(&house).await;
        keystone.tell(json!({ "do": "catalog", "url": endpoint }));
        Self {
            house,
            service,
            keystone,
            endpoint,
        }
    }

    /// What openstacksdk's `connect` is called with.
    fn connection(&self, auth: Auth) -> Value {
        let mut connection = json!({ "region_name": "R" });
        let fields = connection.as_object_mut().expect("an object");
        if let Auth::Password(user) = auth {
            fields.insert("auth_type".to_owned(), "password".into());
            let own = json!({
                "auth_url": format!("{}/v3", self.keystone.url()), "username": user, "password": format!("PASSWORD-of-{user}"),
                "project_name": if user == "demo" { "demo" } else { "service" },
                "user_domain_name": "Default", "project_domain_name": "Default",
            });
            fields.insert("auth".to_owned(), own);
            return connection;
        }
        fields.insert(
            "instance_ha_endpoint_override".to_owned(),
            self.endpoint.as_str().into(),
        );
        let (kind, own) = match auth {
            Auth::HttpBasic => (
                "http_basic",
                json!({ "endpoint": self.endpoint, "username": "alice", "password": "secret" }),
            ),
            Auth::AdminToken => (
                "admin_token",
                json!({ "endpoint": self.endpoint, "token": TOKEN }),
            ),
            Auth::None | Auth::Password(_) => ("none", json!({ "endpoint": self.endpoint })),
        };
        fields.insert("auth_type".to_owned(), kind.into());
        fields.insert("auth".to_owned(), own);
        connection
    }

    /// The same for the `openstack` command line.
    fn options(&self, auth: Auth) -> Vec<String> {
        let keystone = format!("{}/v3", self.keystone.url());
        let options: Vec<[&str; 2]> = match auth {
            Auth::None => vec![["auth-type", "none"], ["endpoint", &self.endpoint]],
            Auth::HttpBasic => vec![
                ["auth-type", "http_basic"],
                ["endpoint", &self.endpoint],
                ["username", "alice"],
                ["password", "secret"],
            ],
            Auth::AdminToken => vec![
                ["auth-type", "admin_token"],
                ["endpoint", &self.endpoint],
                ["token", TOKEN],
            ],
            Auth::Password(_) => vec![
                ["auth-type", "password"],
                ["auth-url", &keystone],
                ["username", "nova"],
                ["password", "PASSWORD-of-nova"],
                ["project-name", "service"],
                ["user-domain-name", "Default"],
                ["project-domain-name", "Default"],
                ["region-name", "R"],
            ],
        };
        options
            .into_iter()
            .flat_map(|[name, value]| [format!("--os-{name}"), value.to_owned()])
            .collect()
    }

    /// The same for the section `[api]` of `masakarimonitors.conf`.
    fn monitors_conf(&self, auth: Auth) -> String {
        let own = match auth {
            Auth::None => format!("auth_type = none\nendpoint = {}\n", self.endpoint),
            Auth::HttpBasic => format!(
                "auth_type = http_basic\nendpoint = {}\nusername = alice\npassword = secret\n",
                self.endpoint
            ),
            Auth::AdminToken => format!(
                "auth_type = admin_token\nendpoint = {}\ntoken = {TOKEN}\n",
                self.endpoint
            ),
            Auth::Password(user) => format!(
                "auth_type = password\nauth_url = {}/v3\nusername = {user}\npassword = PASSWORD-of-{user}\nproject_name = service\n\
                 user_domain_name = Default\nproject_domain_name = Default\n",
                self.keystone.url()
            ),
        };
        let file = self.house.path("masakarimonitors.conf");
        let text = format!("[api]\nregion = R\napi_interface = public\n{own}");
        std::fs::write(&file, text).expect("a file");
        file.display().to_string()
    }

    async fn sdk(&self, auth: Auth) -> Value {
        let connection = self.connection(auth).to_string();
        let said = python(&["masakari_client.py", &connection]).await;
        serde_json::from_str(&said.stdout)
            .unwrap_or_else(|_| panic!("{auth:?}: {said:?}\n{}", self.service.log()))
    }

    async fn openstack(&self, auth: Auth, arguments: &[&str]) -> Value {
        let options = self.options(auth);
        let words: Vec<&str> = ["-m", "openstackclient.shell"]
            .into_iter()
            .chain(options.iter().map(String::as_str))
            .chain(arguments.iter().copied())
            .chain(["-f", "json"])
            .collect();
        let said = run(&words).await;
        assert_eq!(
            said.code,
            0,
            "{auth:?} {arguments:?}: {said:?}\n{}",
            self.service.log()
        );
        serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"))
    }

    async fn monitor(&self, auth: Auth, retries: u32, seconds: f32, notification: &Value) -> Said {
        let config = self.monitors_conf(auth);
        let said = python(&[
            "monitor.py",
            &config,
            &retries.to_string(),
            &seconds.to_string(),
            &notification.to_string(),
        ])
        .await;
        assert_eq!(said.stdout, "done\n", "{auth:?}: {said:?}");
        said
    }
}

fn configure(house: &House, source: &str) {
    service::configure(house, source);
    let file = house.path("hem.yaml");
    let text = std::fs::read_to_string(&file).expect("a file");
    std::fs::write(&file, text.replace("sources: {}\n", "sources:\n")).expect("a file");
}

async fn started(house: &House) -> (Service, String) {
    let mut service = Service::start(house);
    let status = service
        .until("it takes notifications", |status| {
            status.sources.get("ha").is_some_and(|source| source.connected)
        })
        .await;
    let endpoint = status.sources["ha"].endpoint.clone();
    (service, endpoint)
}

/// Runs a script of `tests/peers`.
async fn python(words: &[&str]) -> Said {
    let script = format!("{}/tests/peers/{}", env!("CARGO_MANIFEST_DIR"), words[0]);
    let words: Vec<&str> = std::iter::once(script.as_str())
        .chain(words[1..].iter().copied())
        .collect();
    run(&words).await
}

async fn run(words: &[&str]) -> Said {
    let python = std::env::var("HEM_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut command = Command::new(&python);
    command.args(words).env("PYTHONDONTWRITEBYTECODE", "1");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("OS_") {
            command.env_remove(name);
        }
    }
    let said = said(command).await;
    assert!(
        !said.stderr.contains("No module named"),
        "{}\n{INSTALL}",
        said.stderr
    );
    said
}

const EVERYBODY: [Auth; 4] = [
    Auth::None,
    Auth::HttpBasic,
    Auth::AdminToken,
    Auth::Password("nova"),
];

fn of(notifications: &Value) -> Vec<String> {
    let list = notifications.as_array().expect("a list");
    let mut uuids: Vec<String> = list
        .iter()
        .map(|uuid| uuid.as_str().expect("a UUID").to_owned())
        .collect();
    uuids.sort();
    uuids
}

async fn openstacksdk(auth: Auth) {
    let mut site = Site::open(auth).await;
    let got = site.sdk(auth).await;
    let created = got["created"].as_array().expect("a list").clone();
    assert_eq!(created.len(), 6, "{got}");
    assert_eq!(got["statuses"], json!(["new", "new", "new", "new", "new", "new"]));
    assert_eq!(
        got["repeated"], "Notification received from host node1 of type VM is duplicate.",
        "{got}"
    );
    assert_eq!(got["missing"], "No notification with id no-such.", "{got}");
    assert_eq!(of(&got["all"]), of(&got["created"]));
    assert_eq!(
        got["paged"], got["all"],
        "two at a time are the same in the same order"
    );
    assert_eq!(got["by_type"], json!([created[5]]));
    assert_eq!(
        of(&got["by_host"]),
        of(&json!([created[0], created[2], created[4], created[5]]))
    );
    assert_eq!(of(&got["since"]), of(&json!([created[4], created[5]])));
    assert_eq!(got["sorted"], json!(created));
    assert_eq!(got["shown"]["uuid"], created[0]);
    assert_eq!(got["shown"]["payload"]["vir_domain_event"], "STOPPED_FAILED");
    assert_eq!(got["segments"], json!(["rack1"]));
    assert_eq!(got["hosts"], json!(["node1", "node2"]));
    let status = site.service.until_succeeded(6).await;
    assert_eq!(in_state(&status, "failed"), 0);
    let sums = &status.events["ha"];
    assert!(sums.adds_up, "{sums:?}");
    assert_eq!((sums.accepted, sums.duplicate), (6, 1), "{sums:?}");
    let log = site.service.log();
    for secret in [TOKEN, "PASSWORD-of", "gAAAAA"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openstacksdk_creates_lists_and_shows_without_authentication() {
    openstacksdk(Auth::None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openstacksdk_creates_lists_and_shows_with_a_name_and_a_password() {
    openstacksdk(Auth::HttpBasic).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openstacksdk_creates_lists_and_shows_with_a_shared_token() {
    openstacksdk(Auth::AdminToken).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openstacksdk_creates_lists_and_shows_with_a_token_of_keystone() {
    openstacksdk(Auth::Password("nova")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_of_keystone_without_the_role_is_refused_by_the_policy() {
    let site = Site::open(Auth::Password("demo")).await;
    assert_eq!(site.sdk(Auth::Password("demo")).await, json!({ "refused": 403 }));
}

async fn openstack_command_line(auth: Auth) {
    let site = Site::open(auth).await;
    let payload = r#"{"event": "STOPPED", "process_name": "nova-compute"}"#;
    let created = site
        .openstack(
            auth,
            &[
                "notification",
                "create",
                "PROCESS",
                "node1",
                "2026-11-21T23:10:00",
                payload,
            ],
        )
        .await;
    let uuid = created["notification_uuid"].as_str().expect("a UUID");
    assert_eq!(created["type"], "PROCESS", "{created}");
    let listed = site
        .openstack(
            auth,
            &[
                "notification",
                "list",
                "--limit",
                "5",
                "--sort",
                "generated_time:asc",
                "--filters",
                "type=PROCESS",
            ],
        )
        .await;
    assert_eq!(listed[0]["notification_uuid"], uuid, "{listed}");
    let shown = site.openstack(auth, &["notification", "show", uuid]).await;
    assert_eq!(shown["notification_uuid"], uuid, "{shown}");
    assert!(
        shown["recovery_workflow_details"].is_array() || shown["recovery_workflow_details"].is_string(),
        "{shown}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_openstack_command_line_creates_lists_and_shows_without_authentication() {
    openstack_command_line(Auth::None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_openstack_command_line_creates_lists_and_shows_with_a_name_and_a_password() {
    openstack_command_line(Auth::HttpBasic).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_openstack_command_line_creates_lists_and_shows_with_a_shared_token() {
    openstack_command_line(Auth::AdminToken).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_openstack_command_line_creates_lists_and_shows_with_a_token_of_keystone() {
    openstack_command_line(Auth::Password("nova")).await;
}

fn stopped(machine: u32) -> Value {
    json!({"notification": {
        "generated_time": "2026-11-21T23:59:56.166332", "type": "VM", "hostname": "node1",
        "payload": {
            "event": "LIFECYCLE", "instance_uuid": format!("96ab1c42-668c-4f2d-8689-afa3301d4e{machine:02}"),
            "vir_domain_event": "STOPPED_FAILED",
        },
    }})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_monitor_is_heard_whoever_it_says_it_is_and_does_not_repeat_a_duplicate() {
    for auth in EVERYBODY {
        let mut site = Site::open(auth).await;
        let sent = site.monitor(auth, 2, 0.1, &stopped(1)).await;
        assert!(
            !sent.stderr.contains("Retry sending"),
            "{auth:?}: {}",
            sent.stderr
        );
        site.service.until_succeeded(1).await;
        let repeated = site.monitor(auth, 2, 0.1, &stopped(1)).await;
        assert!(
            !repeated.stderr.contains("Retry sending"),
            "{auth:?}: {}",
            repeated.stderr
        );
        let status = site.service.status().await.expect("a status");
        let sums = &status.events["ha"];
        assert_eq!((sums.accepted, sums.duplicate), (1, 1), "{auth:?}: {sums:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_monitor_that_finds_keystone_away_is_heard_when_it_comes_back() {
    let mut site = Site::open(Auth::Password("nova")).await;
    // A monitor asks for its token once and sends for long; hem is asked about that token while Keystone is away.
    let token = site.keystone.tell(json!({ "do": "token", "user": "nova" }))["token"]
        .as_str()
        .expect("a token")
        .to_owned();
    site.keystone.go_away();
    let config = site.house.path("monitor.conf");
    let text = format!(
        "[api]\nregion = R\nauth_type = admin_token\nendpoint = {}\ntoken = {token}\n",
        site.endpoint
    );
    std::fs::write(&config, text).expect("a file");
    let config = config.display().to_string();
    let event = stopped(1).to_string();
    let words = ["monitor.py", &config, "600", "0.1", &event];
    let sending = python(&words);
    let coming_back = async {
        site.service
            .until_logged("Keystone gives no answer about their tokens")
            .await;
        site.keystone.come_back();
    };
    let (sent, ()) = tokio::join!(sending, coming_back);
    assert_eq!(sent.stdout, "done\n", "{sent:?}");
    assert!(
        sent.stderr.contains("Retry sending a notification"),
        "{}",
        sent.stderr
    );
    site.service.until_succeeded(1).await;
}
