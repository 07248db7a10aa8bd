//! How an event of Cisco ESC is stored, apart from its document.

use serde::{Deserialize, Serialize};

use super::FormatError;
use crate::event::esc::{EscEvent, Machine, Via};
use crate::event::webhook::Form;

#[derive(Serialize, Deserialize)]
pub(super) struct StoredEsc {
    via: String,
    form: Form,
    event: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status_code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status_message: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deployment: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vm_group: Option<String>,
    #[serde(default, skip_serializing_if = "StoredMachine::is_unknown")]
    vm: StoredMachine,
    #[serde(default, skip_serializing_if = "StoredMachine::is_unknown")]
    new_vm: StoredMachine,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    transaction: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delivery: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sender: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request: Option<String>,
}

#[derive(Default, PartialEq, Eq, Serialize, Deserialize)]
struct StoredMachine {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host_name: Option<String>,
}

impl StoredEsc {
    pub(super) fn of(event: &EscEvent) -> Self {
        let event = event.clone();
        Self {
            via: event.via.as_str().to_owned(),
            form: event.form,
            event: event.event,
            status: event.status,
            status_code: event.status_code,
            status_message: event.status_message,
            tenant: event.tenant,
            deployment: event.deployment,
            vm_group: event.vm_group,
            vm: StoredMachine::of(event.vm),
            new_vm: StoredMachine::of(event.new_vm),
            resource: event.resource,
            transaction: event.transaction,
            time: event.time,
            delivery: event.delivery,
            sender: event.sender,
            request: event.request,
        }
    }

    pub(super) fn into_event(self) -> Result<EscEvent, FormatError> {
        let Some(via) = Via::named(&self.via) else {
            return Err(FormatError::Value(self.via));
        };
        Ok(EscEvent {
            via,
            form: self.form,
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
}

impl StoredMachine {
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

    fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}
