"""What the stand-in for oned (see oned.py) writes: the documents of VMs, hosts, images, networks and hooks, and of events."""

import re
import time
from xml.etree import ElementTree

VM_STATES = dict(
    INIT=0, PENDING=1, HOLD=2, ACTIVE=3, STOPPED=4, SUSPENDED=5, DONE=6, POWEROFF=8, UNDEPLOYED=9, CLONING=10,
    CLONING_FAILURE=11,
)
LCM_STATES = dict(
    LCM_INIT=0, PROLOG=1, BOOT=2, RUNNING=3, MIGRATE=4, SAVE_STOP=5, SAVE_SUSPEND=6, SAVE_MIGRATE=7, PROLOG_MIGRATE=8,
    PROLOG_RESUME=9, EPILOG_STOP=10, EPILOG=11, SHUTDOWN=12, CLEANUP_RESUBMIT=15, UNKNOWN=16, HOTPLUG=17,
    SHUTDOWN_POWEROFF=18, BOOT_UNKNOWN=19, BOOT_POWEROFF=20, BOOT_SUSPENDED=21, BOOT_STOPPED=22, CLEANUP_DELETE=23,
    BOOT_UNDEPLOY=32, BOOT_MIGRATE=35, BOOT_FAILURE=36, BOOT_MIGRATE_FAILURE=37, PROLOG_MIGRATE_FAILURE=38,
    PROLOG_FAILURE=39, EPILOG_FAILURE=40, DISK_RESIZE=62, HOTPLUG_RESIZE=66, BACKUP=69, BACKUP_POWEROFF=70, RESTORE=71,
)
HOST_STATES = dict(INIT=0, MONITORED=2, ERROR=3, DISABLED=4, OFFLINE=8)
IMAGE_STATES = dict(
    INIT=0, READY=1, USED=2, DISABLED=3, LOCKED=4, ERROR=5, CLONE=6, DELETE=7, LOCKED_USED=9,
)
VNET_STATES = dict(INIT=0, READY=1, LOCK_CREATE=2, LOCK_DELETE=3, DONE=4, ERROR=5)
RAFT_STATES = dict(SOLO=0, CANDIDATE=1, FOLLOWER=2, LEADER=3, OBSERVER=4)
ON = dict(
    PROLOG=("ACTIVE", "PROLOG"), RUNNING=("ACTIVE", "RUNNING"), SHUTDOWN=("ACTIVE", "EPILOG"),
    STOP=("STOPPED", "LCM_INIT"), DONE=("DONE", "LCM_INIT"), UNKNOWN=("ACTIVE", "UNKNOWN"),
)
POOLS = {"vm": "VM_POOL", "host": "HOST_POOL", "image": "IMAGE_POOL", "vnet": "VNET_POOL"}

PERMISSIONS = "<PERMISSIONS>%s</PERMISSIONS>" % "".join(
    f"<{who}_{what}>{int(who == 'OWNER' and what != 'A')}</{who}_{what}>"
    for who in ("OWNER", "GROUP", "OTHER")
    for what in "UMA"
)
OWNER = "<UID>0</UID><GID>0</GID><UNAME>oneadmin</UNAME><GNAME>oneadmin</GNAME>"


def attributes(template):
    """A template's attributes as oned writes them: in the order of their names, values as CDATA."""
    found = []
    for name, value in sorted(template.items()):
        inner = attributes(value) if isinstance(value, dict) else f"<![CDATA[{value}]]>"
        found.append(f"<{name}>{inner}</{name}>")
    return "".join(found)


TOKEN = r"""[\s,]*(?:\#[^\n]*|([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|\[(.*?)\]|([^%s]*)))"""


def parse_template(text, ends="\n"):
    """A template as `onehook create` takes it, attribute by attribute, or the XML of one; `ends` end a bare value."""
    if text.lstrip().startswith("<"):
        return {element.tag.upper(): element.text or "" for element in ElementTree.fromstring(text)}
    token, template, at = re.compile(TOKEN % ends, re.DOTALL), {}, 0
    while text[at:].strip(" \t\r\n,"):
        match = token.match(text, at)
        if not match:
            raise ValueError("syntax error in template")
        name, quoted, vector, bare = match.groups()
        if name and vector is not None:
            template[name.upper()] = parse_template(vector, ends="\n,")
        elif name:
            template[name.upper()] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else bare.strip()
        at = match.end()
    return template


class Resource:
    """A VM, host, image or network: a name, a state and what it was before."""

    def __init__(self, kind, number):
        self.kind, self.number, self.name, self.host = kind, number, f"{kind}-{number}", None
        self.state = self.lcm_state = self.former = None
        self.template, self.user_template, self.since = {}, {}, int(time.time())

    def enter(self, state, lcm_state):
        """Comes into a state; says whether that is a change."""
        before = (self.state, self.lcm_state)
        changed = before != (state, lcm_state)
        if changed or self.former is None:
            self.former = before if before[0] else (state, lcm_state)
        self.state, self.lcm_state = state, lcm_state
        return changed

    def xml(self):
        head = f"<ID>{self.number}</ID>"
        if self.kind == "host":
            return (
                f"<HOST>{head}<NAME>{self.name}</NAME><STATE>{HOST_STATES[self.state]}</STATE>"
                f"<PREV_STATE>{HOST_STATES[self.former[0]]}</PREV_STATE><IM_MAD><![CDATA[kvm]]></IM_MAD>"
                "<VM_MAD><![CDATA[kvm]]></VM_MAD><CLUSTER_ID>0</CLUSTER_ID><CLUSTER>default</CLUSTER><VMS></VMS>"
                f"<TEMPLATE>{attributes(self.template)}</TEMPLATE><MONITORING/></HOST>"
            )
        head += f"{OWNER}<NAME>{self.name}</NAME>{PERMISSIONS}"
        if self.kind == "image":
            return (
                f"<IMAGE>{head}<TYPE>0</TYPE><DISK_TYPE>0</DISK_TYPE><PERSISTENT>0</PERSISTENT>"
                f"<REGTIME>{self.since}</REGTIME><SOURCE><![CDATA[/dev/null]]></SOURCE><SIZE>1024</SIZE>"
                f"<STATE>{IMAGE_STATES[self.state]}</STATE><PREV_STATE>{IMAGE_STATES[self.former[0]]}</PREV_STATE>"
                "<RUNNING_VMS>0</RUNNING_VMS><DATASTORE_ID>1</DATASTORE_ID><DATASTORE>default</DATASTORE><VMS></VMS>"
                f"<TEMPLATE>{attributes(self.template)}</TEMPLATE></IMAGE>"
            )
        if self.kind == "vnet":
            return (
                f"<VNET>{head}<CLUSTERS><ID>0</ID></CLUSTERS><BRIDGE><![CDATA[br0]]></BRIDGE>"
                f"<STATE><![CDATA[{VNET_STATES[self.state]}]]></STATE>"
                f"<PREV_STATE><![CDATA[{VNET_STATES[self.former[0]]}]]></PREV_STATE><USED_LEASES>0</USED_LEASES>"
                f"<VROUTERS></VROUTERS><TEMPLATE>{attributes(self.template)}</TEMPLATE><AR_POOL></AR_POOL></VNET>"
            )
        history = "<HISTORY_RECORDS/>"
        if self.host:
            history = (
                f"<HISTORY_RECORDS><HISTORY><OID>{self.number}</OID><SEQ>0</SEQ><HOSTNAME>{self.host}</HOSTNAME>"
                f"<HID>0</HID><CID>0</CID><STIME>{self.since}</STIME><ETIME>0</ETIME></HISTORY></HISTORY_RECORDS>"
            )
        return (
            f"<VM>{head}<LAST_POLL>0</LAST_POLL><STATE>{VM_STATES[self.state]}</STATE>"
            f"<LCM_STATE>{LCM_STATES[self.lcm_state]}</LCM_STATE><PREV_STATE>{VM_STATES[self.former[0]]}</PREV_STATE>"
            f"<PREV_LCM_STATE>{LCM_STATES[self.former[1]]}</PREV_LCM_STATE><RESCHED>0</RESCHED>"
            f"<STIME>{self.since}</STIME><ETIME>{self.since if self.state == 'DONE' else 0}</ETIME><DEPLOY_ID></DEPLOY_ID>"
            f"<MONITORING></MONITORING><SCHED_ACTIONS></SCHED_ACTIONS><TEMPLATE>{attributes(self.template)}</TEMPLATE>"
            f"<USER_TEMPLATE>{attributes(self.user_template)}</USER_TEMPLATE>{history}"
            "<BACKUPS><BACKUP_CONFIG/><BACKUP_IDS></BACKUP_IDS></BACKUPS></VM>"
        )

    def event(self):
        """The document of a state event."""
        resource = {"vnet": "NET"}.get(self.kind, self.kind.upper())
        head = f"<HOOK_TYPE>STATE</HOOK_TYPE><HOOK_OBJECT>{resource}</HOOK_OBJECT><STATE>{self.state}</STATE>"
        number = f"<RESOURCE_ID>{self.number}</RESOURCE_ID>"
        if self.kind == "vm":
            service = self.user_template.get("SERVICE_ID")
            head += f"<LCM_STATE>{self.lcm_state}</LCM_STATE>{number}"
            head += f"<SERVICE_ID>{service}</SERVICE_ID>" if service else ""
            head += f"<REMOTE_HOST>{self.host}</REMOTE_HOST>" if self.host else "<REMOTE_HOST/>"
        elif self.kind == "host":
            head += f"<REMOTE_HOST>{self.name}</REMOTE_HOST>{number}"
        else:
            head += number
        return f"<HOOK_MESSAGE>{head}{self.xml()}</HOOK_MESSAGE>"


def api_event(call, result, parameters, out, extra):
    """The document of an API event. Nothing in a VALUE is escaped, and the session, IN 1, is not told."""

    def parameter(position, kind, value):
        value = int(value) if isinstance(value, bool) else value
        return (
            f"<PARAMETER><POSITION>{position}</POSITION><TYPE>{kind}</TYPE><VALUE>{value}</VALUE></PARAMETER>"
        )

    told = "".join(parameter(n, "IN", value) for n, value in enumerate(["****", *parameters], 1))
    told += "".join(parameter(n, "OUT", value) for n, value in enumerate(out, 1))
    return (
        f"<HOOK_MESSAGE><HOOK_TYPE>API</HOOK_TYPE><CALL>{call}</CALL><CALL_INFO><RESULT>{int(result)}</RESULT>"
        f"<PARAMETERS>{told}</PARAMETERS><EXTRA>{extra}</EXTRA></CALL_INFO></HOOK_MESSAGE>"
    )


class Hook:
    """One of the pool's hooks."""

    def __init__(self, number, name, kind, template):
        self.number, self.name, self.kind, self.template = number, name, kind, template
        self.lock, self.locked_at = 0, 0

    def xml(self, log=""):
        lock = ""
        if self.lock:
            lock = (
                f"<LOCK><LOCKED>{self.lock}</LOCKED><OWNER>0</OWNER><TIME>{self.locked_at}</TIME><REQ_ID>0</REQ_ID></LOCK>"
            )
        return (
            f"<HOOK><ID>{self.number}</ID><NAME>{self.name}</NAME><TYPE>{self.kind}</TYPE>{lock}"
            f"<TEMPLATE>{attributes(self.template)}</TEMPLATE>{log}</HOOK>"
        )
