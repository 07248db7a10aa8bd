//! Stand-in.
pub(super) const VM_STATES: &[&str] = &[
    "INIT",
    "PENDING",
    "HOLD",
    "ACTIVE",
    "STOPPED",
    "SUSPENDED",
    "DONE",
    "POWEROFF",
    "UNDEPLOYED",
    "CLONING",
    "CLONING_FAILURE",
];
pub(super) const LCM_STATES: &[&str] = &[
    "LCM_INIT",
    "PROLOG",
    "BOOT",
    "RUNNING",
    "EPILOG",
    "UNKNOWN",
    "BOOT_POWEROFF",
    "MIGRATE",
];
pub(super) const HOST_STATES: &[&str] = &["INIT", "MONITORED", "ERROR", "DISABLED", "OFFLINE"];
pub(super) const IMAGE_STATES: &[&str] = &[
    "INIT",
    "READY",
    "USED",
    "DISABLED",
    "LOCKED",
    "ERROR",
    "CLONE",
    "DELETE",
    "LOCKED_USED",
];
pub(super) const NET_STATES: &[&str] = &[
    "INIT",
    "READY",
    "LOCK_CREATE",
    "LOCK_DELETE",
    "DONE",
    "ERROR",
    "UPDATE_FAILURE",
];
pub(super) const CALLS: &[&str] = &[
    "one.vm.allocate",
    "one.vm.deploy",
    "one.vm.info",
    "one.host.status",
];
pub(super) const UNSUPPORTED_CALLS: &[&str] = &["one.vm.info"];
