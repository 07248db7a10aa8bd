//! Who hem says it is, and whom it believes: authentication and host keys, against OpenSSH.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says where"
)]

mod daemon;
mod netconf;
mod recorded;
mod service;
mod sshd;

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use daemon::{House, until};
use netconf::subscriber::{SOURCE, accepted, configure, connected, refused, subscribed};
use netconf::{Account, Emit, Link, Netconfd, Operator, STREAM};
use nix::unistd::geteuid;
use service::Service;
use sshd::{make_key, public_key};

/// Nothing but the endpoint and the stream, and that the server is known.
fn place(netconfd: &Netconfd, link: &Link) -> String {
    netconfd.door.is_known(link.port);
    format!(
        "endpoint: \"127.0.0.1:{}\", stream: {STREAM}, known_hosts: [{}/known_hosts]",
        link.port,
        netconfd.door.folder.display()
    )
}

/// An agent that holds one key.
struct Agent(Child);

impl Agent {
    async fn with(key: &Path, socket: &Path) -> Self {
        let child = Command::new("ssh-agent")
            .arg("-D")
            .arg("-a")
            .arg(socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("ssh-agent: install openssh-client");
        let agent = Self(child);
        until("the agent listens", || UnixStream::connect(socket).is_ok()).await;
        let added = Command::new("ssh-add")
            .arg("-q")
            .arg(key)
            .env("SSH_AUTH_SOCK", socket)
            .status()
            .expect("ssh-add: install openssh-client");
        assert!(added.success());
        agent
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_lets_hem_in_with_and_without_a_passphrase_and_of_every_kind() {
    let house = House::new();
    let netconfd = Netconfd::start(&house, 100).await;
    let link = Link::to(netconfd.door.sshd.port);
    let place = place(&netconfd, &link);
    let folder = &netconfd.door.folder;
    fs::write(house.path("passphrase"), "open it\n").expect("a file");
    let kinds: [(&str, &[&str], &str); 4] = [
        ("rsa", &["-t", "rsa", "-b", "2048", "-N", ""], ""),
        ("ecdsa", &["-t", "ecdsa", "-N", ""], ""),
        (
            "locked",
            &["-t", "ed25519", "-N", "open it"],
            ", passphrase: { file: passphrase }",
        ),
        (
            "old-form",
            &["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", ""],
            "",
        ),
    ];
    for (name, kind, more) in kinds {
        let key = folder.join(name);
        make_key(&key, kind);
        fs::write(folder.join("authorized_keys"), public_key(&key) + "\n").expect("a file");
        configure(
            &house,
            &format!(
                "{place}, user: {}, key: {}{more}",
                netconfd.door.user,
                key.display()
            ),
        );
        let service = subscribed(&house).await;
        service.stop().await;
    }
    // A wrong passphrase is a sentence, and not a question.
    fs::write(house.path("passphrase"), "shut it\n").expect("a file");
    configure(
        &house,
        &format!(
            "{place}, user: {}, key: {}, passphrase: {{ file: passphrase }}",
            netconfd.door.user,
            folder.join("locked").display()
        ),
    );
    let mut service = Service::start(&house);
    refused(&mut service, "passphrase").await;
    assert!(!service.log().contains("shut it"), "{}", service.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_nobody_knows_is_told_so_and_tried_again() {
    let house = House::new();
    let netconfd = Netconfd::start(&house, 100).await;
    let link = Link::to(netconfd.door.sshd.port);
    let authorized = netconfd.door.folder.join("authorized_keys");
    let known = fs::read(&authorized).expect("a file");
    fs::write(&authorized, "").expect("a file");
    configure(&house, &netconfd.settings(&link, ""));
    let mut service = Service::start(&house);
    let why = refused(&mut service, "key").await;
    assert!(why.contains(&netconfd.door.user), "it says who: {why}");
    fs::write(&authorized, known).expect("a file");
    connected(&mut service, 1).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_lets_hem_in_by_its_socket_and_by_the_environment() {
    let house = House::new();
    let netconfd = Netconfd::start(&house, 100).await;
    let link = Link::to(netconfd.door.sshd.port);
    let place = place(&netconfd, &link);
    let socket = house.path("agent.sock");
    let agent = Agent::with(&netconfd.door.folder.join("user_key"), &socket).await;
    let user = &netconfd.door.user;

    configure(
        &house,
        &format!("{place}, user: {user}, agent: {}", socket.display()),
    );
    subscribed(&house).await.stop().await;

    configure(&house, &format!("{place}, user: {user}, agent: true"));
    let environment = ["env".to_owned(), format!("SSH_AUTH_SOCK={}", socket.display())];
    let mut service = Service::start_by(&house, &environment, &[]);
    connected(&mut service, 1).await;
    // Without its agent it says so, and comes back with it.
    drop(agent);
    fs::remove_file(&socket).expect("the agent's socket");
    link.cut();
    refused(&mut service, "agent").await;
    let _agent = Agent::with(&netconfd.door.folder.join("user_key"), &socket).await;
    connected(&mut service, 2).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_lets_hem_in_and_a_wrong_one_is_told_so_until_it_is_right() {
    let account = Account::make();
    let house = House::new();
    let netconfd = Netconfd::start_with(&house, 100, "PasswordAuthentication yes\n").await;
    let link = Link::to(netconfd.door.sshd.port);
    let password = house.path("password");
    fs::write(&password, "a wrong one\n").expect("a file");
    configure(
        &house,
        &format!(
            "{}, user: {}, password: {{ file: password }}",
            place(&netconfd, &link),
            account.name
        ),
    );
    let mut service = Service::start(&house);
    let why = refused(&mut service, "password").await;
    assert!(why.contains(&account.name), "it says who: {why}");
    // Accounts are locked after a few wrong tries: it waits between them.
    let tried = netconfd.door.sshd.log().matches("Failed password").count();
    assert!((1..=3).contains(&tried), "{}", netconfd.door.sshd.log());
    fs::write(&password, format!("{}\n", account.password)).expect("a file");
    connected(&mut service, 1).await;
    let mut operator = Operator::connect(&netconfd).await;
    operator.emit(&Emit::step("VM_ALIVE", "SUCCESS"));
    accepted(&mut service, 1).await;
    let log = service.log();
    for secret in ["a wrong one", &account.password] {
        assert!(!log.contains(secret), "a password stands in the log: {log}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_nobody_knows_is_refused_with_the_line_that_makes_it_known() {
    let house = House::new();
    let netconfd = Netconfd::start(&house, 100).await;
    let link = Link::to(netconfd.door.sshd.port);
    let settings = netconfd.settings(&link, "");
    let known = netconfd.door.folder.join("known_hosts");
    let other = netconfd.door.folder.join("other");
    make_key(&other, &["-t", "ed25519", "-N", ""]);
    fs::write(&known, format!("other.example {}\n", public_key(&other))).expect("a file");
    configure(&house, &settings);
    let mut service = Service::start(&house);
    let why = refused(&mut service, "SHA256:").await;
    let (print, line) = (
        netconfd.door.fingerprint("host_key"),
        netconfd.door.known_host(link.port),
    );
    assert!(why.contains(&print), "{print}: {why}");
    assert!(
        why.contains(&line) || service.log().contains(&line),
        "{line}: {why}\n{}",
        service.log()
    );
    assert!(
        !netconfd.door.sshd.log().contains("Accepted"),
        "nobody logs in at a stranger's"
    );
    // Whoever adds the line that was said is let through, without a restart.
    let mut text = fs::read_to_string(&known).expect("a file");
    text += &format!("{line}\n");
    fs::write(&known, text).expect("a file");
    connected(&mut service, 1).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_key_that_changed_is_refused_with_both_fingerprints_and_the_line_to_add() {
    let house = House::new();
    let mut netconfd = Netconfd::start(&house, 100).await;
    let link = Link::to(netconfd.door.sshd.port);
    configure(&house, &netconfd.settings(&link, ""));
    let mut service = subscribed(&house).await;
    let before = netconfd.door.fingerprint("host_key");
    netconfd.door.change_host_key();
    netconfd.door.sshd.listens().await;
    let after = netconfd.door.fingerprint("host_key");
    assert_ne!(before, after);
    let logins = netconfd.door.sshd.log().matches("Accepted").count();
    link.cut();
    let why = refused(&mut service, &after).await;
    let line = netconfd.door.known_host(link.port);
    let said = format!("{why}\n{}", service.log());
    assert!(why.contains(&before), "{before}: {why}");
    assert!(said.contains(&line), "{line}: {said}");
    assert!(
        said.contains("known_hosts"),
        "it says where the other key stands: {said}"
    );
    assert_eq!(
        netconfd.door.sshd.log().matches("Accepted").count(),
        logins,
        "nobody logs in"
    );
    netconfd.door.is_known(link.port);
    connected(&mut service, 2).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_may_have_several_keys_as_a_pair_of_servers_behind_one_address_has() {
    let house = House::new();
    let mut netconfd = Netconfd::start(&house, 100).await;
    let link = Link::to(netconfd.door.sshd.port);
    let folder = netconfd.door.folder.clone();
    let first = netconfd.door.known_host(link.port);
    // The other one of the pair.
    make_key(&folder.join("other_host_key"), &["-t", "ed25519", "-N", ""]);
    let keys = [
        public_key(&folder.join("host_key")),
        public_key(&folder.join("other_host_key")),
    ];
    let second = format!("[127.0.0.1]:{} {}", link.port, keys[1]);
    let key = format!(
        "endpoint: \"127.0.0.1:{}\", stream: {STREAM}, user: {}, key: {}/user_key",
        link.port,
        netconfd.door.user,
        folder.display()
    );
    fs::write(folder.join("known_hosts"), format!("{first}\n{second}\n")).expect("a file");
    for known in [
        format!("known_hosts: [{}/known_hosts]", folder.display()),
        format!("host_keys: [\"{}\", \"{}\"]", keys[0], keys[1]),
    ] {
        configure(&house, &format!("{key}, {known}"));
        let mut service = subscribed(&house).await;
        for (file, other) in [
            ("host_key", "other_host_key"),
            ("host_key.pub", "other_host_key.pub"),
        ] {
            let aside = folder.join("aside");
            fs::rename(folder.join(file), &aside).expect("a file");
            fs::rename(folder.join(other), folder.join(file)).expect("a file");
            fs::rename(&aside, folder.join(other)).expect("a file");
        }
        netconfd.door.sshd.start_again();
        netconfd.door.sshd.listens().await;
        link.cut();
        connected(&mut service, 2).await;
        service.stop().await;
    }
    // A list is the whole truth: a key that a file knows does not count beside it.
    configure(&house, &format!("{key}, host_keys: [\"{}\"]", keys[1]));
    let mut service = Service::start(&house);
    let why = refused(&mut service, "SHA256:").await;
    assert!(why.contains(&netconfd.door.fingerprint("host_key")), "{why}");
    service.stop().await;
}

/// What a command begins with that is to see a folder where another one is.
fn mounted(folder: &Path, place: &str) -> Vec<String> {
    let mut words = vec!["unshare", "--mount"];
    if !geteuid().is_root() {
        words.extend(["--user", "--map-root-user"]);
    }
    let mount = "mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\"";
    let folder = folder.to_str().expect("a path");
    words.extend(["sh", "-c", mount, "sh", folder, place]);
    words.into_iter().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn known_hosts_is_read_as_ssh_reads_it() {
    let house = House::new();
    let mut netconfd = Netconfd::start(&house, 100).await;
    let folder = netconfd.door.folder.clone();
    // A server with keys of several kinds, of which only one is known: that one is asked for.
    let link = Link::to(netconfd.door.sshd.port);
    let settings = netconfd.settings(&link, "");
    let config = folder.join("sshd_config");
    make_key(&folder.join("rsa_key"), &["-t", "rsa", "-b", "2048", "-N", ""]);
    make_key(&folder.join("ecdsa_key"), &["-t", "ecdsa", "-N", ""]);
    let mut text = fs::read_to_string(&config).expect("a file");
    for key in ["rsa_key", "ecdsa_key"] {
        text += &format!("HostKey {}/{key}\n", folder.display());
    }
    fs::write(&config, text).expect("a file");
    netconfd.door.sshd.start_again();
    netconfd.door.sshd.listens().await;
    let known = folder.join("known_hosts");
    let name = format!("[127.0.0.1]:{}", link.port);
    let host_key = public_key(&folder.join("host_key"));
    configure(&house, &settings);
    for line in [
        format!("{name} {}", public_key(&folder.join("rsa_key"))),
        format!("{name} {}", public_key(&folder.join("ecdsa_key"))),
        format!("# a comment\n\nother.example,{name} {host_key} a comment"),
        format!("[127.0.0.*]:{} {host_key}", link.port),
    ] {
        fs::write(&known, line + "\n").expect("a file");
        subscribed(&house).await.stop().await;
    }
    // Names that are hashed, as Debian's ssh writes them.
    fs::write(&known, format!("{name} {host_key}\n")).expect("a file");
    let hashed = Command::new("ssh-keygen")
        .args(["-q", "-H", "-f"])
        .arg(&known)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(hashed.is_ok_and(|status| status.success()));
    assert!(fs::read_to_string(&known).expect("a file").starts_with("|1|"));
    subscribed(&house).await.stop().await;
    // Without a file named, those of the user are read.
    let home = house.path("home");
    fs::create_dir_all(home.join(".ssh")).expect("a folder");
    fs::rename(&known, home.join(".ssh/known_hosts")).expect("a file");
    let (without, _) = settings.split_once(", known_hosts").expect("a setting");
    configure(&house, &format!("{without}, stream: {STREAM}"));
    let environment = ["env".to_owned(), format!("HOME={}", home.display())];
    let mut service = Service::start_by(&house, &environment, &[]);
    connected(&mut service, 1).await;
    service.stop().await;
    // And those of the machine, of which hem alone sees others here.
    let machine = house.path("machine");
    fs::create_dir_all(&machine).expect("a folder");
    fs::rename(home.join(".ssh/known_hosts"), machine.join("ssh_known_hosts")).expect("a file");
    let seen = mounted(&machine, "/etc/ssh");
    let mut service = Service::start_by(&house, &[seen, environment.to_vec()].concat(), &[]);
    connected(&mut service, 1).await;
    service.stop().await;
    // A key that was withdrawn is refused, whoever else knows it.
    fs::write(&known, format!("{name} {host_key}\n@revoked * {host_key}\n")).expect("a file");
    configure(&house, &settings);
    let mut service = Service::start(&house);
    refused(&mut service, "revoked").await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_server_is_spoken_to_only_where_that_is_asked_for() {
    let house = House::new();
    let folder = house.path("netconf");
    let old = "KexAlgorithms diffie-hellman-group14-sha1\nCiphers aes128-cbc,3des-cbc\nMACs hmac-sha1\nHostKeyAlgorithms ssh-rsa\n";
    let lines = format!("{old}HostKey {}/old_host_key\n", folder.display());
    // The key has to be there before the server is.
    fs::create_dir(&folder).expect("a folder");
    make_key(
        &folder.join("old_host_key"),
        &["-t", "rsa", "-b", "2048", "-N", ""],
    );
    let netconfd = Netconfd::start_with(&house, 100, &lines).await;
    let link = Link::to(netconfd.door.sshd.port);
    let settings = netconfd.settings(&link, "");
    fs::write(
        folder.join("known_hosts"),
        format!(
            "[127.0.0.1]:{} {}\n",
            link.port,
            public_key(&folder.join("old_host_key"))
        ),
    )
    .expect("a file");
    configure(&house, &settings);
    let mut service = Service::start(&house);
    let why = refused(&mut service, "legacy").await;
    assert!(why.contains("ssh_algorithms"), "{why}");
    service.stop().await;
    configure(&house, &format!("{settings}, ssh_algorithms: legacy"));
    let service = subscribed(&house).await;
    assert_eq!(
        service.status().await.expect("a status").sources[SOURCE].connects,
        1
    );
    service.stop().await;
}
