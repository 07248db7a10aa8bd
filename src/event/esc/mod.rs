//! What Cisco's Elastic Services Controller (ESC) says happened: a callback over REST, or a notification over NETCONF. One meaning
//! for both: whatever asks for a tenant or a status need not know by which way it came.
//!
//! Facts and trees leave out what says nothing: empty elements, and the word `NULL` that ESC writes for a value it does not have.

mod reading;
mod saved;
pub mod vocabulary;

use std::fmt;

pub use self::reading::{
    CallbackHeaders, Fault, Notification, callback_tree, notification_tree, read_callback, read_notification,
};
pub(super) use self::saved::request;
pub use self::saved::{from_saved, is_saved};

use super::webhook::Form;

/// A longer value is cut: it stands in tables and in variables, and the document has all of it.
const LONGEST_VALUE: usize = 256;

/// A longer message is cut.
const LONGEST_MESSAGE: usize = 4_096;

/// One event of ESC, whichever way it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EscEvent {
    /// The way it came.
    pub via: Via,
    /// What the document is: XML or JSON.
    pub form: Form,
    /// Its type, which may be unknown to this program: `VM_ALIVE`.
    pub event: String,
    /// `SUCCESS` or `FAILURE`. Over REST it follows from the code, since callbacks bring no word.
    pub status: Option<String>,
    /// The code, like HTTP's: `200`.
    pub status_code: Option<String>,
    /// What ESC says about it, on one line.
    pub status_message: Option<String>,
    /// The tenant.
    pub tenant: Option<String>,
    /// The deployment, as whoever ordered it named it.
    pub deployment: Option<String>,
    /// The group of VMs.
    pub vm_group: Option<String>,
    /// The VM it is about; of a recovery the old one.
    pub vm: Machine,
    /// The VM that takes its place (`vm_target`).
    pub new_vm: Machine,
    /// The network, subnet, image, flavor or volume it is about.
    pub resource: Option<String>,
    /// REST: the transaction, as the answer to the order named it.
    pub transaction: Option<String>,
    /// NETCONF: the time of the event, as the server wrote it.
    pub time: Option<String>,
    /// By what it is known when it comes again.
    pub delivery: Option<String>,
    /// REST: the address it came from, which may be a proxy's.
    pub sender: Option<String>,
    /// REST: the id of the request, as the log and the answer say it.
    pub request: Option<String>,
}

impl EscEvent {
    /// What is known of it, each by the name that conditions, scripts and tables use; what it does not say is left out.
    pub fn texts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("via", Some(self.via.as_str())),
            ("event", Some(self.event.as_str())),
            ("status", self.status.as_deref()),
            ("status_code", self.status_code.as_deref()),
            ("status_message", self.status_message.as_deref()),
            ("tenant", self.tenant.as_deref()),
            ("deployment", self.deployment.as_deref()),
            ("vm_group", self.vm_group.as_deref()),
            ("vm", self.vm.id.as_deref()),
            ("vm_name", self.vm.name.as_deref()),
            ("host_id", self.vm.host_id.as_deref()),
            ("host_name", self.vm.host_name.as_deref()),
            ("new_vm", self.new_vm.id.as_deref()),
            ("new_vm_name", self.new_vm.name.as_deref()),
            ("new_host_id", self.new_vm.host_id.as_deref()),
            ("new_host_name", self.new_vm.host_name.as_deref()),
            ("resource", self.resource.as_deref()),
            ("transaction", self.transaction.as_deref()),
            ("time", self.time.as_deref()),
            ("sender", self.sender.as_deref()),
        ]
        .into_iter()
        .filter_map(|(name, text)| Some((name, text?)))
    }

    /// The host it names, the new VM's first.
    pub fn host(&self) -> Option<&str> {
        let host = self.new_vm.host_name.as_ref().or(self.vm.host_name.as_ref());
        host.map(String::as_str)
    }

    /// The key of such an event: `ESC VM_ALIVE SUCCESS`.
    pub fn key(&self) -> String {
        match &self.status {
            Some(status) => format!("ESC {} {status}", self.event),
            None => format!("ESC {}", self.event),
        }
    }

    /// What it is about, so that what happens to one deployment stays in order: the deployment with its tenant; else the
    /// tenant, else the transaction; none where it names nothing of that.
    pub fn subject(&self) -> Option<String> {
        match (&self.tenant, &self.deployment, &self.transaction) {
            (Some(tenant), Some(deployment), _) => Some(format!("deployment/{tenant}/{deployment}")),
            (None, Some(deployment), _) => Some(format!("deployment/{deployment}")),
            (Some(tenant), None, _) => Some(format!("tenant/{tenant}")),
            (None, None, Some(transaction)) => Some(format!("transaction/{transaction}")),
            (None, None, None) => None,
        }
    }
}

/// A VM and where it runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Machine {
    /// Its id in the infrastructure, a UUID.
    pub id: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// The host's id.
    pub host_id: Option<String>,
    /// The host's name.
    pub host_name: Option<String>,
}

/// The way an event came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// A callback over HTTP.
    Rest,
    /// A notification of the stream `escEvent`.
    Netconf,
}

impl Via {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Rest, Self::Netconf];

    /// The name in triggers, records and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Netconf => "netconf",
        }
    }

    /// The way of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|via| via.as_str() == name)
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why an event that came this way may lack what a trigger asks for; none where it is not the way that decides.
pub fn absence(via: Via, attribute: &str) -> Option<&'static str> {
    match (via, attribute) {
        (Via::Rest, "vm_group") => Some("callbacks over REST do not name it"),
        (Via::Rest, "status") => Some("it follows from the header ESC-Status-Code, which is missing"),
        (Via::Rest, "tenant") => Some("the callback has no internal_tenant_id"),
        (Via::Rest, "deployment") => {
            Some("the callback has no internal_deployment_id, as those of deployments have")
        }
        (Via::Netconf, "vm_group") => Some("notifications about whole services do not name it"),
        (Via::Netconf, "deployment") => Some("the notification has no depname, as those of deployments have"),
        _ => None,
    }
}
