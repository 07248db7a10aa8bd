//! A front-end of OpenNebula: the stand-in for `oned`, whose hooks hem's real binary runs in the place of `onehem-server`.

#![allow(
    dead_code,
    clippy::expect_used,
    reason = "each test program uses its own part; a test that cannot go on shall fail"
)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hem::control::client::Client;
use serde_json::{Value, json};

use crate::daemon::{House, until_found};
use crate::oned_stand_in::Oned;
use crate::service::{Service, configure};

/// A result as it came to `oned`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) hook: u64,
    pub(crate) code: i64,
    /// It was valid XML, so that there is a record of it.
    pub(crate) kept: bool,
    pub(crate) document: String,
}

impl Told {
    fn of(result: &Value) -> Self {
        Self {
            hook: result["hook"].as_u64().expect("a number"),
            code: result["rc"].as_i64().expect("a number"),
            kept: result["kept"] == true,
            document: result["document"].as_str().expect("a document").to_owned(),
        }
    }

    /// An element's text, as it stands there.
    pub(crate) fn element(&self, name: &str) -> &str {
        element(&self.document, name)
    }

    pub(crate) fn stdout(&self) -> String {
        decoded(self.element("STDOUT"))
    }

    pub(crate) fn stderr(&self) -> String {
        decoded(self.element("STDERR"))
    }
}

/// The text of an element that is in the document once.
pub(crate) fn element<'a>(document: &'a str, name: &str) -> &'a str {
    let (_, rest) = document.split_once(&format!("<{name}>")).expect(name);
    rest.split_once(&format!("</{name}>")).expect(name).0
}

pub(crate) fn decoded(text: &str) -> String {
    let bytes = STANDARD.decode(text.replace('\n', "")).expect("base64");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The template of a hook on VMs that come to run.
pub(crate) fn on_running(name: &str, command: &str, more: &str) -> String {
    format!("NAME={name}\nTYPE=state\nRESOURCE=VM\nON=RUNNING\nCOMMAND=\"{command}\"\n{more}\n")
}

/// The template of a hook on a call.
pub(crate) fn on_call(name: &str, call: &str, command: &str, more: &str) -> String {
    format!("NAME={name}\nTYPE=api\nCALL={call}\nCOMMAND=\"{command}\"\n{more}\n")
}

/// The two with a folder of their own. Hooks that are created before the start are in force when it has started.
pub(crate) struct FrontEnd {
    pub(crate) house: House,
    pub(crate) oned: Oned,
    pub(crate) hem: Option<Service>,
}

impl FrontEnd {
    pub(crate) fn new() -> Self {
        let mut house = House::new();
        let auth = house.path("one_auth").display().to_string();
        let oned = Oned::start(&["--auth-file", &auth]);
        house.serve(oned.events(), oned.replies());
        Self {
            house,
            oned,
            hem: None,
        }
    }

    /// Writes a script, and creates a hook by its template.
    pub(crate) fn with(mut self, script: &str, text: &str, template: &str) -> Self {
        self.house.script(script, text);
        self.oned.create_hook(template);
        self
    }

    /// Starts hem, and waits until it listens and the hooks of `oned` are in force.
    pub(crate) async fn start(&mut self) {
        self.start_with("").await;
    }

    /// Starts hem with more in its configuration; what begins with a blank belongs to `oned:`.
    pub(crate) async fn start_with(&mut self, more: &str) {
        let auth = self.house.path("one_auth");
        let oned = format!(
            "oned:\n  endpoint: {}\n  auth: {}\n{more}",
            self.oned.xmlrpc(),
            auth.display()
        );
        configure(&self.house, &oned);
        self.hem = Some(Service::start(&self.house));
        self.until_in_force().await;
    }

    /// Waits until hem listens and the hooks of `oned` are in force.
    pub(crate) async fn until_in_force(&mut self) {
        self.hem().until("it answers", |_| true).await;
        self.oned.wait_for_subscriber();
        let known = self.oned.tell(json!({ "do": "state" }));
        let names: Vec<String> = known["hooks"]
            .as_object()
            .expect("hooks")
            .values()
            .map(|name| format!("oned/{}", name.as_str().expect("a name")))
            .collect();
        self.until_hooks(|there| names.iter().all(|name| there.contains(name)))
            .await;
    }

    pub(crate) fn hem(&mut self) -> &mut Service {
        self.hem.as_mut().expect("it was started")
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(&self.house.config.control.socket)
            .await
            .expect("a daemon")
    }

    /// The names of the hooks in force.
    pub(crate) async fn hooks(&self) -> Vec<String> {
        let hooks = self.client().await.hooks().await.expect("hooks");
        hooks
            .into_iter()
            .filter(|hook| hook.enabled)
            .map(|hook| hook.name)
            .collect()
    }

    pub(crate) async fn until_hooks(&self, holds: impl Fn(&[String]) -> bool) {
        until_found("the hooks in force are so", async || {
            let hooks = self.hooks().await;
            if holds(&hooks) { Ok(()) } else { Err(hooks) }
        })
        .await;
    }

    /// Waits until this many results came, and gives them all in the order in which they came.
    pub(crate) fn told(&mut self, count: usize) -> Vec<Told> {
        self.oned.results(count).iter().map(Told::of).collect()
    }

    /// Stops hem in order.
    pub(crate) async fn stop(&mut self) {
        self.hem.take().expect("it was started").stop().await;
    }
}
