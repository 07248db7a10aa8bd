//! An event of Cisco ESC as the API gives it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::esc::{EscEvent, Machine, Via};
use crate::event::webhook::Form;

/// What is known of an event of ESC; what it does not say is null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EscView {
    /// The way it came: `rest` or `netconf`.
    pub via: String,
    /// What the document is: `xml` or `json`.
    pub form: String,
    /// The type: `VM_ALIVE`.
    pub event: String,
    /// `SUCCESS` or `FAILURE`.
    pub status: Option<String>,
    /// The code, like HTTP's.
    pub status_code: Option<String>,
    /// What ESC says about it.
    pub status_message: Option<String>,
    /// The tenant.
    pub tenant: Option<String>,
    /// The deployment.
    pub deployment: Option<String>,
    /// The group of VMs.
    pub vm_group: Option<String>,
    /// The VM; of a recovery the old one.
    pub vm: MachineView,
    /// The VM that takes its place.
    pub new_vm: MachineView,
    /// The network, subnet, image, flavor or volume.
    pub resource: Option<String>,
    /// REST: the transaction.
    pub transaction: Option<String>,
    /// NETCONF: the time of the event, as the server wrote it.
    pub time: Option<String>,
    /// By what it is known when it comes again.
    pub delivery: Option<String>,
    /// REST: the address it came from.
    pub sender: Option<String>,
    /// REST: the id of the request.
    pub request: Option<String>,
}

/// A VM and where it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MachineView {
    /// Its id, a UUID.
    pub id: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// The host's id.
    pub host_id: Option<String>,
    /// The host's name.
    pub host_name: Option<String>,
}

impl EscView {
    pub(in crate::control) fn of(event: &EscEvent) -> Self {
        let EscEvent {
            via,
            form,
            event,
            status,
            status_code,
            status_message,
            tenant,
            deployment,
            vm_group,
            vm,
            new_vm,
            resource,
            transaction,
            time,
            delivery,
            sender,
            request,
        } = event.clone();
        Self {
            via: via.as_str().to_owned(),
            form: form.as_str().to_owned(),
            event,
            status,
            status_code,
            status_message,
            tenant,
            deployment,
            vm_group,
            vm: MachineView::of(vm),
            new_vm: MachineView::of(new_vm),
            resource,
            transaction,
            time,
            delivery,
            sender,
            request,
        }
    }

    /// The event that it shows; none where it names no way or form that there is.
    pub fn into_event(self) -> Option<EscEvent> {
        Some(EscEvent {
            via: Via::named(&self.via)?,
            form: Form::named(&self.form)?,
            event: self.event,
            status: self.status,
            status_code: self.status_code,
            status_message: self.status_message,
            tenant: self.tenant,
            deployment: self.deployment,
            vm_group: self.vm_group,
            vm: self.vm.into_machine(),
            new_vm: self.new_vm.into_machine(),
            resource: self.resource,
            transaction: self.transaction,
            time: self.time,
            delivery: self.delivery,
            sender: self.sender,
            request: self.request,
        })
    }

    /// In a few words: `esc VM_ALIVE SUCCESS`.
    pub(super) fn in_words(&self) -> String {
        match &self.status {
            Some(status) => format!("esc {} {status}", self.event),
            None => format!("esc {}", self.event),
        }
    }

    /// All texts that somebody outside wrote.
    pub(in crate::control) fn texts_mut(&mut self) -> impl Iterator<Item = &mut String> {
        let Self {
            event,
            status,
            status_code,
            status_message,
            tenant,
            deployment,
            vm_group,
            vm,
            new_vm,
            resource,
            transaction,
            time,
            delivery,
            ..
        } = self;
        let machines = [vm, new_vm]
            .into_iter()
            .flat_map(|vm| [&mut vm.id, &mut vm.name, &mut vm.host_id, &mut vm.host_name]);
        [
            status,
            status_code,
            status_message,
            tenant,
            deployment,
            vm_group,
            resource,
            transaction,
            time,
            delivery,
        ]
        .into_iter()
        .chain(machines)
        .filter_map(Option::as_mut)
        .chain([event])
    }
}

impl MachineView {
    fn of(machine: Machine) -> Self {
        Self {
            id: machine.id,
            name: machine.name,
            host_id: machine.host_id,
            host_name: machine.host_name,
        }
    }

    fn into_machine(self) -> Machine {
        Machine {
            id: self.id,
            name: self.name,
            host_id: self.host_id,
            host_name: self.host_name,
        }
    }
}
