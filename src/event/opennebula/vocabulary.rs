//! The names OpenNebula uses: resources, states, the `ON` words of hook templates, API calls.
//!
//! They serve to check what an operator writes. What an event says is used as it is, known here or not, so that a new
//! release of the controller stops nothing.

use super::Resource;

/// States of a VM by number (`include/VirtualMachine.h`).
pub const VM_STATES: &[(u32, &str)] = &[
    (0, "INIT"),
    (1, "PENDING"),
    (2, "HOLD"),
    (3, "ACTIVE"),
    (4, "STOPPED"),
    (5, "SUSPENDED"),
    (6, "DONE"),
    (8, "POWEROFF"),
    (9, "UNDEPLOYED"),
    (10, "CLONING"),
    (11, "CLONING_FAILURE"),
];

/// States of a VM's life-cycle manager by number (`include/VirtualMachine.h`).
pub const LCM_STATES: &[(u32, &str)] = &[
    (0, "LCM_INIT"),
    (1, "PROLOG"),
    (2, "BOOT"),
    (3, "RUNNING"),
    (4, "MIGRATE"),
    (5, "SAVE_STOP"),
    (6, "SAVE_SUSPEND"),
    (7, "SAVE_MIGRATE"),
    (8, "PROLOG_MIGRATE"),
    (9, "PROLOG_RESUME"),
    (10, "EPILOG_STOP"),
    (11, "EPILOG"),
    (12, "SHUTDOWN"),
    (15, "CLEANUP_RESUBMIT"),
    (16, "UNKNOWN"),
    (17, "HOTPLUG"),
    (18, "SHUTDOWN_POWEROFF"),
    (19, "BOOT_UNKNOWN"),
    (20, "BOOT_POWEROFF"),
    (21, "BOOT_SUSPENDED"),
    (22, "BOOT_STOPPED"),
    (23, "CLEANUP_DELETE"),
    (24, "HOTPLUG_SNAPSHOT"),
    (25, "HOTPLUG_NIC"),
    (26, "HOTPLUG_SAVEAS"),
    (27, "HOTPLUG_SAVEAS_POWEROFF"),
    (28, "HOTPLUG_SAVEAS_SUSPENDED"),
    (29, "SHUTDOWN_UNDEPLOY"),
    (30, "EPILOG_UNDEPLOY"),
    (31, "PROLOG_UNDEPLOY"),
    (32, "BOOT_UNDEPLOY"),
    (33, "HOTPLUG_PROLOG_POWEROFF"),
    (34, "HOTPLUG_EPILOG_POWEROFF"),
    (35, "BOOT_MIGRATE"),
    (36, "BOOT_FAILURE"),
    (37, "BOOT_MIGRATE_FAILURE"),
    (38, "PROLOG_MIGRATE_FAILURE"),
    (39, "PROLOG_FAILURE"),
    (40, "EPILOG_FAILURE"),
    (41, "EPILOG_STOP_FAILURE"),
    (42, "EPILOG_UNDEPLOY_FAILURE"),
    (43, "PROLOG_MIGRATE_POWEROFF"),
    (44, "PROLOG_MIGRATE_POWEROFF_FAILURE"),
    (45, "PROLOG_MIGRATE_SUSPEND"),
    (46, "PROLOG_MIGRATE_SUSPEND_FAILURE"),
    (47, "BOOT_UNDEPLOY_FAILURE"),
    (48, "BOOT_STOPPED_FAILURE"),
    (49, "PROLOG_RESUME_FAILURE"),
    (50, "PROLOG_UNDEPLOY_FAILURE"),
    (51, "DISK_SNAPSHOT_POWEROFF"),
    (52, "DISK_SNAPSHOT_REVERT_POWEROFF"),
    (53, "DISK_SNAPSHOT_DELETE_POWEROFF"),
    (54, "DISK_SNAPSHOT_SUSPENDED"),
    (56, "DISK_SNAPSHOT_DELETE_SUSPENDED"),
    (57, "DISK_SNAPSHOT"),
    (59, "DISK_SNAPSHOT_DELETE"),
    (60, "PROLOG_MIGRATE_UNKNOWN"),
    (61, "PROLOG_MIGRATE_UNKNOWN_FAILURE"),
    (62, "DISK_RESIZE"),
    (63, "DISK_RESIZE_POWEROFF"),
    (64, "DISK_RESIZE_UNDEPLOYED"),
    (65, "HOTPLUG_NIC_POWEROFF"),
    (66, "HOTPLUG_RESIZE"),
    (67, "HOTPLUG_SAVEAS_UNDEPLOYED"),
    (68, "HOTPLUG_SAVEAS_STOPPED"),
    (69, "BACKUP"),
    (70, "BACKUP_POWEROFF"),
    (71, "RESTORE"),
];

/// States of a host by number (`include/Host.h`); the others between them are printed as one of these.
pub const HOST_STATES: &[(u32, &str)] = &[
    (0, "INIT"),
    (2, "MONITORED"),
    (3, "ERROR"),
    (4, "DISABLED"),
    (8, "OFFLINE"),
];

/// States of an image by number (`include/Image.h`), as they stand in keys: the persistent variants print like the plain ones.
pub const IMAGE_STATES: &[(u32, &str)] = &[
    (0, "INIT"),
    (1, "READY"),
    (2, "USED"),
    (3, "DISABLED"),
    (4, "LOCKED"),
    (5, "ERROR"),
    (6, "CLONE"),
    (7, "DELETE"),
    (8, "USED"),
    (9, "LOCKED_USED"),
    (10, "LOCKED_USED"),
];

/// States of a virtual network by number (`include/VirtualNetwork.h`), as they stand in keys: `UPDATE_FAILURE`, 6, is
/// published as an empty string.
pub const NET_STATES: &[(u32, &str)] = &[
    (0, "INIT"),
    (1, "READY"),
    (2, "LOCK_CREATE"),
    (3, "LOCK_DELETE"),
    (4, "DONE"),
    (5, "ERROR"),
    (6, ""),
];

/// The `ON` words of a VM hook with the states they stand for (`src/hm/HookStateVM.cc`); `CUSTOM` stands for the hook's own
/// `STATE` and `LCM_STATE`.
pub const ON_WORDS: &[(&str, Option<(&str, &str)>)] = &[
    ("PROLOG", Some(("ACTIVE", "PROLOG"))),
    ("RUNNING", Some(("ACTIVE", "RUNNING"))),
    ("SHUTDOWN", Some(("ACTIVE", "EPILOG"))),
    ("STOP", Some(("STOPPED", "LCM_INIT"))),
    ("DONE", Some(("DONE", "LCM_INIT"))),
    ("UNKNOWN", Some(("ACTIVE", "UNKNOWN"))),
    ("CUSTOM", None),
];

/// Every API call that can be named in a hook: the methods of `RequestManagerXRPC.cc` and the spellings a running `oned`
/// was seen to publish besides (`one.vn.add_ar`, `one.vn.rm_ar`, `one.vn.update_ar`). Sorted.
pub const API_CALLS: &[&str] = &[
    "one.acl.addrule",
    "one.acl.delrule",
    "one.acl.info",
    "one.backupjob.allocate",
    "one.backupjob.backup",
    "one.backupjob.cancel",
    "one.backupjob.chmod",
    "one.backupjob.chown",
    "one.backupjob.delete",
    "one.backupjob.info",
    "one.backupjob.lock",
    "one.backupjob.priority",
    "one.backupjob.rename",
    "one.backupjob.retry",
    "one.backupjob.schedadd",
    "one.backupjob.scheddelete",
    "one.backupjob.schedupdate",
    "one.backupjob.unlock",
    "one.backupjob.update",
    "one.backupjobpool.info",
    "one.cluster.adddatastore",
    "one.cluster.addhost",
    "one.cluster.addvnet",
    "one.cluster.allocate",
    "one.cluster.deldatastore",
    "one.cluster.delete",
    "one.cluster.delhost",
    "one.cluster.delvnet",
    "one.cluster.info",
    "one.cluster.optimize",
    "one.cluster.plandelete",
    "one.cluster.planexecute",
    "one.cluster.rename",
    "one.cluster.update",
    "one.clusterpool.info",
    "one.datastore.allocate",
    "one.datastore.chmod",
    "one.datastore.chown",
    "one.datastore.delete",
    "one.datastore.enable",
    "one.datastore.info",
    "one.datastore.rename",
    "one.datastore.update",
    "one.datastorepool.info",
    "one.document.allocate",
    "one.document.chmod",
    "one.document.chown",
    "one.document.clone",
    "one.document.delete",
    "one.document.info",
    "one.document.lock",
    "one.document.rename",
    "one.document.unlock",
    "one.document.update",
    "one.documentpool.info",
    "one.group.addadmin",
    "one.group.allocate",
    "one.group.deladmin",
    "one.group.delete",
    "one.group.info",
    "one.group.quota",
    "one.group.update",
    "one.group.vlan",
    "one.grouppool.info",
    "one.groupquota.info",
    "one.groupquota.update",
    "one.hook.allocate",
    "one.hook.delete",
    "one.hook.info",
    "one.hook.lock",
    "one.hook.rename",
    "one.hook.retry",
    "one.hook.unlock",
    "one.hook.update",
    "one.hooklog.info",
    "one.hookpool.info",
    "one.host.allocate",
    "one.host.delete",
    "one.host.info",
    "one.host.monitoring",
    "one.host.rename",
    "one.host.status",
    "one.host.update",
    "one.hostpool.info",
    "one.hostpool.monitoring",
    "one.image.allocate",
    "one.image.chmod",
    "one.image.chown",
    "one.image.chtype",
    "one.image.clone",
    "one.image.delete",
    "one.image.enable",
    "one.image.info",
    "one.image.lock",
    "one.image.persistent",
    "one.image.rename",
    "one.image.restore",
    "one.image.snapshotdelete",
    "one.image.snapshotflatten",
    "one.image.snapshotrevert",
    "one.image.unlock",
    "one.image.update",
    "one.imagepool.info",
    "one.market.allocate",
    "one.market.allocatedb",
    "one.market.chmod",
    "one.market.chown",
    "one.market.delete",
    "one.market.enable",
    "one.market.info",
    "one.market.rename",
    "one.market.update",
    "one.market.updatedb",
    "one.marketapp.allocate",
    "one.marketapp.allocatedb",
    "one.marketapp.chmod",
    "one.marketapp.chown",
    "one.marketapp.delete",
    "one.marketapp.dropdb",
    "one.marketapp.enable",
    "one.marketapp.info",
    "one.marketapp.lock",
    "one.marketapp.rename",
    "one.marketapp.unlock",
    "one.marketapp.update",
    "one.marketapp.updatedb",
    "one.marketapppool.info",
    "one.marketpool.info",
    "one.secgroup.allocate",
    "one.secgroup.chmod",
    "one.secgroup.chown",
    "one.secgroup.clone",
    "one.secgroup.commit",
    "one.secgroup.delete",
    "one.secgroup.info",
    "one.secgroup.rename",
    "one.secgroup.update",
    "one.secgrouppool.info",
    "one.system.config",
    "one.system.sql",
    "one.system.sqlquery",
    "one.system.version",
    "one.template.allocate",
    "one.template.chmod",
    "one.template.chown",
    "one.template.clone",
    "one.template.delete",
    "one.template.info",
    "one.template.instantiate",
    "one.template.lock",
    "one.template.rename",
    "one.template.unlock",
    "one.template.update",
    "one.templatepool.info",
    "one.user.addgroup",
    "one.user.allocate",
    "one.user.chauth",
    "one.user.chgrp",
    "one.user.delete",
    "one.user.delgroup",
    "one.user.enable",
    "one.user.info",
    "one.user.login",
    "one.user.passwd",
    "one.user.quota",
    "one.user.update",
    "one.userpool.info",
    "one.userquota.info",
    "one.userquota.update",
    "one.vdc.addcluster",
    "one.vdc.adddatastore",
    "one.vdc.addgroup",
    "one.vdc.addhost",
    "one.vdc.addvnet",
    "one.vdc.allocate",
    "one.vdc.delcluster",
    "one.vdc.deldatastore",
    "one.vdc.delete",
    "one.vdc.delgroup",
    "one.vdc.delhost",
    "one.vdc.delvnet",
    "one.vdc.info",
    "one.vdc.rename",
    "one.vdc.update",
    "one.vdcpool.info",
    "one.vm.action",
    "one.vm.allocate",
    "one.vm.attach",
    "one.vm.attachnic",
    "one.vm.attachpci",
    "one.vm.attachsg",
    "one.vm.backup",
    "one.vm.backupcancel",
    "one.vm.cancelexec",
    "one.vm.chmod",
    "one.vm.chown",
    "one.vm.deploy",
    "one.vm.detach",
    "one.vm.detachnic",
    "one.vm.detachpci",
    "one.vm.detachsg",
    "one.vm.diskresize",
    "one.vm.disksaveas",
    "one.vm.disksnapshotcreate",
    "one.vm.disksnapshotdelete",
    "one.vm.disksnapshotrename",
    "one.vm.disksnapshotrevert",
    "one.vm.exec",
    "one.vm.info",
    "one.vm.lock",
    "one.vm.migrate",
    "one.vm.monitoring",
    "one.vm.recover",
    "one.vm.rename",
    "one.vm.resize",
    "one.vm.restore",
    "one.vm.retryexec",
    "one.vm.schedadd",
    "one.vm.scheddelete",
    "one.vm.schedupdate",
    "one.vm.snapshotcreate",
    "one.vm.snapshotdelete",
    "one.vm.snapshotrevert",
    "one.vm.unlock",
    "one.vm.update",
    "one.vm.updateconf",
    "one.vm.updatenic",
    "one.vm.vmgroupadd",
    "one.vm.vmgroupdel",
    "one.vmgroup.allocate",
    "one.vmgroup.chmod",
    "one.vmgroup.chown",
    "one.vmgroup.delete",
    "one.vmgroup.info",
    "one.vmgroup.lock",
    "one.vmgroup.rename",
    "one.vmgroup.roleadd",
    "one.vmgroup.roledelete",
    "one.vmgroup.roleupdate",
    "one.vmgroup.unlock",
    "one.vmgroup.update",
    "one.vmgrouppool.info",
    "one.vmpool.accounting",
    "one.vmpool.calculateshowback",
    "one.vmpool.info",
    "one.vmpool.infoextended",
    "one.vmpool.infoset",
    "one.vmpool.monitoring",
    "one.vmpool.showback",
    "one.vn.add_ar",
    "one.vn.allocate",
    "one.vn.chmod",
    "one.vn.chown",
    "one.vn.delete",
    "one.vn.hold",
    "one.vn.info",
    "one.vn.lock",
    "one.vn.recover",
    "one.vn.release",
    "one.vn.rename",
    "one.vn.reserve",
    "one.vn.rm_ar",
    "one.vn.unlock",
    "one.vn.update",
    "one.vn.update_ar",
    "one.vnpool.info",
    "one.vntemplate.allocate",
    "one.vntemplate.chmod",
    "one.vntemplate.chown",
    "one.vntemplate.clone",
    "one.vntemplate.delete",
    "one.vntemplate.info",
    "one.vntemplate.instantiate",
    "one.vntemplate.lock",
    "one.vntemplate.rename",
    "one.vntemplate.unlock",
    "one.vntemplate.update",
    "one.vntemplatepool.info",
    "one.vrouter.allocate",
    "one.vrouter.attachnic",
    "one.vrouter.chmod",
    "one.vrouter.chown",
    "one.vrouter.delete",
    "one.vrouter.detachnic",
    "one.vrouter.info",
    "one.vrouter.instantiate",
    "one.vrouter.lock",
    "one.vrouter.rename",
    "one.vrouter.unlock",
    "one.vrouter.update",
    "one.vrouterpool.info",
    "one.zone.addserver",
    "one.zone.allocate",
    "one.zone.delete",
    "one.zone.delserver",
    "one.zone.enable",
    "one.zone.fedreplicate",
    "one.zone.info",
    "one.zone.raftstatus",
    "one.zone.rename",
    "one.zone.replicate",
    "one.zone.resetserver",
    "one.zone.update",
    "one.zone.updatedb",
    "one.zone.voterequest",
    "one.zonepool.info",
];

/// Calls that are never published, so that a hook on one of them would never run (`src/hm/HookAPI.cc`). Sorted.
pub const UNPUBLISHED_CALLS: &[&str] = &[
    "one.acl.info",
    "one.cluster.info",
    "one.clusterpool.info",
    "one.datastore.info",
    "one.datastorepool.info",
    "one.document.info",
    "one.documentpool.info",
    "one.group.info",
    "one.grouppool.info",
    "one.groupquota.info",
    "one.hook.info",
    "one.hooklog.info",
    "one.hookpool.info",
    "one.host.info",
    "one.hostpool.info",
    "one.image.info",
    "one.imagepool.info",
    "one.market.info",
    "one.marketapp.info",
    "one.marketapppool.info",
    "one.marketpool.info",
    "one.secgroup.info",
    "one.secgrouppool.info",
    "one.template.info",
    "one.templatepool.info",
    "one.user.info",
    "one.userpool.info",
    "one.userquota.info",
    "one.vdc.info",
    "one.vdcpool.info",
    "one.vm.info",
    "one.vmgroup.info",
    "one.vmgrouppool.info",
    "one.vmpool.info",
    "one.vmpool.infoextended",
    "one.vn.info",
    "one.vnpool.info",
    "one.vntemplate.info",
    "one.vntemplatepool.info",
    "one.vrouter.info",
    "one.vrouterpool.info",
    "one.zone.info",
    "one.zonepool.info",
];

/// The names of the states `resource` can be in, as they stand in keys.
pub fn states(resource: &Resource) -> Vec<&'static str> {
    match resource {
        Resource::Vm | Resource::Host | Resource::Image | Resource::Net => {
            let mut names: Vec<_> = numbered_states(resource).iter().map(|&(_, name)| name).collect();
            // Some states print alike, and one prints as nothing.
            names.retain(|name| !name.is_empty());
            names.dedup();
            names
        }
        Resource::Other(_) => Vec::new(),
    }
}

/// The name that the controller publishes for a state of `resource`, from its number as it stands in the resource's element.
/// None for a number that is not known.
pub fn state_name(resource: &Resource, number: &str) -> Option<&'static str> {
    known_name(numbered_states(resource), number)
}

/// The name that the controller publishes for a life-cycle state, from its number as it stands in a VM's element. None for a
/// number that is not known.
pub fn known_lcm_state_name(number: &str) -> Option<&'static str> {
    known_name(LCM_STATES, number)
}

fn numbered_states(resource: &Resource) -> &'static [(u32, &'static str)] {
    match resource {
        Resource::Vm => VM_STATES,
        Resource::Host => HOST_STATES,
        Resource::Image => IMAGE_STATES,
        Resource::Net => NET_STATES,
        Resource::Other(_) => &[],
    }
}

/// The names of the states of a VM's life-cycle manager.
pub fn lcm_states() -> Vec<&'static str> {
    LCM_STATES.iter().map(|&(_, name)| name).collect()
}

/// The name of a VM's state, from its number as it stands in a VM's element. A number without a name stays a number.
pub fn vm_state_name(number: &str) -> String {
    name_of(VM_STATES, number)
}

/// The name of a life-cycle state, from its number as it stands in a VM's element. A number without a name stays a number.
pub fn lcm_state_name(number: &str) -> String {
    name_of(LCM_STATES, number)
}

fn name_of(table: &[(u32, &'static str)], number: &str) -> String {
    known_name(table, number).map_or_else(|| number.trim().to_owned(), str::to_owned)
}

fn known_name(table: &[(u32, &'static str)], number: &str) -> Option<&'static str> {
    let wanted: u32 = number.trim().parse().ok()?;
    let &(_, name) = table.iter().find(|&&(known, _)| known == wanted)?;
    Some(name)
}

/// Whether `call` is a call that a hook can name and that is known.
pub fn is_known_call(call: &str) -> bool {
    // `oned` takes anything below one.internal without asking whether it exists.
    call.starts_with("one.internal.") || API_CALLS.binary_search(&call).is_ok()
}

/// Whether `call` is never published by the controller.
pub fn is_never_published(call: &str) -> bool {
    UNPUBLISHED_CALLS.binary_search(&call).is_ok()
}

/// The one of `candidates` that `name` was probably meant to be: the nearest within two edits, or within a third of its
/// length for longer names; case does not count. None when nothing is near.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 64;
    let wanted: Vec<char> = name.to_lowercase().chars().collect();
    if wanted.is_empty() || wanted.len() > LONGEST {
        return None;
    }
    let limit = (wanted.len() / 3).clamp(1, 4).max(2.min(wanted.len() / 2));
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let distance = edit_distance(&wanted, &candidate.to_lowercase().chars().collect::<Vec<_>>());
            (distance <= limit).then_some((distance, candidate))
        })
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, remove, replace, swap two neighbours) that turn one word into the other.
fn edit_distance(left: &[char], right: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let replace = last[j] + usize::from(a != b);
            let mut best = replace.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[right.len()]
}

impl Resource {
    /// The name in hooks and in the envelope: `VM`, `HOST`, `IMAGE`, `NET`.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Vm => "VM",
            Self::Host => "HOST",
            Self::Image => "IMAGE",
            Self::Net => "NET",
            Self::Other(name) => name,
        }
    }

    /// Reads a resource's name in any of its spellings (`NET` and `VNET` are one); an unknown one is kept.
    pub fn parse(name: &str) -> Self {
        match name {
            "VM" => Self::Vm,
            "HOST" => Self::Host,
            "IMAGE" => Self::Image,
            "NET" | "VNET" => Self::Net,
            other => Self::Other(other.to_owned()),
        }
    }

    /// The name in ZeroMQ keys.
    pub fn key_name(&self) -> &str {
        self.as_str()
    }

    /// The name of the resource's element in documents: a network's is `VNET`, though everything else says `NET`.
    pub fn element_name(&self) -> &str {
        match self {
            Self::Net => "VNET",
            other => other.as_str(),
        }
    }

    /// The first part of the resource's subject: the `vm` of `vm/12`.
    pub fn subject_prefix(&self) -> String {
        self.as_str().to_lowercase()
    }
}

impl std::fmt::Display for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted_for_the_search_in_them() {
        assert!(API_CALLS.is_sorted());
        assert!(UNPUBLISHED_CALLS.is_sorted());
        assert_eq!(API_CALLS.len(), 303 + 3);
        assert_eq!(UNPUBLISHED_CALLS.len(), 43);
        for call in UNPUBLISHED_CALLS {
            assert!(is_known_call(call), "{call}");
        }
    }

    #[test]
    fn a_misspelt_name_finds_its_neighbour() {
        assert_eq!(nearest("RUNING", lcm_states()), Some("RUNNING"));
        assert_eq!(nearest("runnign", lcm_states()), Some("RUNNING"));
        assert_eq!(
            nearest("one.vm.alocate", API_CALLS.iter().copied()),
            Some("one.vm.allocate")
        );
        assert_eq!(nearest("POWER_OFF", states(&Resource::Vm)), Some("POWEROFF"));
        assert_eq!(nearest("BANANA", states(&Resource::Host)), None);
        assert_eq!(nearest("", lcm_states()), None);
        assert_eq!(nearest(&"x".repeat(100_000), lcm_states()), None);
    }

    #[test]
    fn numbers_become_names_where_they_have_one() {
        assert_eq!(vm_state_name("3"), "ACTIVE");
        assert_eq!(vm_state_name("7"), "7");
        assert_eq!(lcm_state_name(" 25 "), "HOTPLUG_NIC");
        assert_eq!(lcm_state_name("nonsense"), "nonsense");
    }

    #[test]
    fn a_network_has_three_names() {
        assert_eq!(Resource::parse("VNET"), Resource::Net);
        assert_eq!(Resource::Net.key_name(), "NET");
        assert_eq!(Resource::Net.element_name(), "VNET");
        assert_eq!(Resource::Net.subject_prefix(), "net");
        assert_eq!(Resource::parse("ZONE").as_str(), "ZONE");
    }
}
