//! A second session with netconfd, over the real ssh: it has notifications sent, and deployments stored.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::Netconfd;
use crate::daemon::until;

const BASE: &str = "urn:ietf:params:xml:ns:netconf:base:1.0";
const ESC: &str = "http://www.cisco.com/esc/esc";
/// Ends a message, as both sides speak base:1.0.
const END: &str = "]]>]]>";

/// What `emit-esc-event` is told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Emit {
    /// Sent so often.
    pub(crate) repeat: Option<u32>,
    /// They differ by numbers in `status_message` from this one on.
    pub(crate) number_from: Option<u32>,
    /// The elements of the event, in XML.
    pub(crate) elements: String,
}

impl Emit {
    /// A step of the deployment `dep1` of the tenant `t1`.
    pub(crate) fn step(event: &str, status: &str) -> Self {
        Self {
            elements: format!(
                "<status>{status}</status><depname>dep1</depname><tenant>t1</tenant><vm_source/><vm_target/>\
                 <event><type>{event}</type></event>"
            ),
            ..Self::default()
        }
    }

    /// So many, which differ by numbers from `first` on.
    pub(crate) fn numbered(mut self, first: u32, count: u32) -> Self {
        self.number_from = Some(first);
        self.repeat = Some(count);
        self
    }

    /// So many, one like the other.
    pub(crate) fn times(mut self, count: u32) -> Self {
        self.repeat = Some(count);
        self
    }
}

/// The session.
pub(crate) struct Operator {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    asked: u64,
}

impl Operator {
    /// Logs in, and waits until netconfd has read the greeting: what comes in one read with that, it never answers.
    pub(crate) async fn connect(netconfd: &Netconfd) -> Self {
        let door = &netconfd.door;
        let at = door.folder.display();
        let known = door.folder.join("known_to_operator");
        std::fs::write(&known, door.known_host(door.sshd.port) + "\n").expect("a file");
        let mut child = Command::new("ssh")
            .args([
                "-F",
                "/dev/null",
                "-o",
                "BatchMode=yes",
                "-o",
                "StrictHostKeyChecking=yes",
            ])
            .arg("-o")
            .arg(format!("UserKnownHostsFile={}", known.display()))
            .arg("-i")
            .arg(format!("{at}/user_key"))
            .args(["-p", &door.sshd.port.to_string(), "-s"])
            .arg(format!("{}@127.0.0.1", door.user))
            .arg("netconf")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("ssh: install openssh-client");
        let mut operator = Self {
            to: child.stdin.take().expect("a pipe"),
            from: BufReader::new(child.stdout.take().expect("a pipe")),
            child,
            asked: 0,
        };
        let greeting = operator.read();
        let session = element(&greeting, "session-id")
            .expect("a session's number")
            .to_owned();
        operator.send(&format!(
            "<hello xmlns=\"{BASE}\"><capabilities><capability>urn:ietf:params:netconf:base:1.0</capability></capabilities></hello>"
        ));
        until("netconfd has read the greeting", || {
            netconfd.log().contains(&format!("Session {session} for "))
        })
        .await;
        operator
    }

    /// Has notifications sent; they are in the server's log when this returns.
    pub(crate) fn emit(&mut self, emit: &Emit) {
        let number = |name: &str, value: Option<u32>| {
            value.map_or_else(String::new, |value| format!("<{name}>{value}</{name}>"))
        };
        let reply = self.ask(&format!(
            "<emit-esc-event xmlns=\"{ESC}\">{}{}{}</emit-esc-event>",
            number("repeat", emit.repeat),
            number("number-from", emit.number_from),
            emit.elements
        ));
        assert!(reply.contains("<ok/>"), "{reply}");
    }

    /// Stores a deployment, as one that can be read.
    pub(crate) fn deploy(&mut self, tenant: &str, deployment: &str, state: &str) {
        let reply = self.ask(&format!(
            "<edit-config><target><running/></target><config><esc_datamodel xmlns=\"{ESC}\"><opdata><tenants><tenant>\
             <name>{tenant}</name><deployments><deployment_name>{deployment}</deployment_name><state_machine><state>{state}</state>\
             </state_machine></deployments></tenant></tenants></opdata></esc_datamodel></config></edit-config>"
        ));
        assert!(reply.contains("<ok/>"), "{reply}");
    }

    /// Asks for an operation; gives the reply.
    pub(crate) fn ask(&mut self, operation: &str) -> String {
        self.asked += 1;
        self.send(&format!(
            "<rpc xmlns=\"{BASE}\" message-id=\"{}\">{operation}</rpc>",
            self.asked
        ));
        self.read()
    }

    /// The next message: a notification, where the session is subscribed.
    pub(crate) fn next(&mut self) -> String {
        self.read()
    }

    fn send(&mut self, message: &str) {
        self.to
            .write_all(format!("{message}{END}").as_bytes())
            .expect("the session stands");
        self.to.flush().expect("the session stands");
    }

    fn read(&mut self) -> String {
        let mut message = Vec::new();
        while !message.ends_with(END.as_bytes()) {
            let read = self
                .from
                .read_until(b'>', &mut message)
                .expect("the session stands");
            assert!(
                read > 0,
                "the session ended: {}",
                String::from_utf8_lossy(&message)
            );
        }
        String::from_utf8(message).expect("text")
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The text of the first such element.
pub(super) fn element<'text>(document: &'text str, name: &str) -> Option<&'text str> {
    let (_, rest) = document.split_once(&format!("<{name}>"))?;
    Some(rest.split_once('<')?.0)
}
