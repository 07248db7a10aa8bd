#!/usr/bin/env python3
"""A stand-in for OpenNebula's oned: the XML-RPC calls that hooks are about, and a driver that publishes and takes results.

It needs Python 3 and pyzmq, and serves the tests of hem and everybody who wants to look at hem or at onehem-server
without a cloud. What it answers and publishes has the form that oned 7 gives it: arrays `[true, body, 0]` or
`[false, message, code, id, index]`, pools of at most so many elements from an offset, state events under two or three
keys with a trailing blank, values in API events not escaped, an ACK for each result before anything is checked.

    python3 oned.py --xmlrpc-port 2633 --events-port 2101 --replies-port 2102 --auth-file /tmp/one_auth --stay
    ONE_XMLRPC=http://127.0.0.1:2633/RPC2 ONE_AUTH=/tmp/one_auth onehook list

Its first line says where it listens. Then it obeys lines of JSON on its standard input and answers each with one line:

    {"do": "vm", "id": 12, "state": "ACTIVE", "lcm_state": "RUNNING"}        a VM comes into this state, and it is told
    {"do": "vm", "id": 12, "state": "DONE", "publish": false}                it ends, and nobody is told
    {"do": "host", "id": 3, "state": "ERROR"}                                so do hosts, and `image` and `vnet`
    {"do": "api", "call": "one.vm.deploy", "in": ["12", "0"], "out": "12"}   a call was made, and it is told
    {"do": "call", "method": "one.hook.allocate", "parameters": ["NAME=a\\nTYPE=api\\n..."]}   as if a client called it
    {"do": "publish", "key": "EVENT ", "content": "..."}                     a message as it is
    {"do": "burst", "count": 4000, "vms": 500, "size": 27000}                many state events as fast as they go
    {"do": "flush"}                                    until the driver has sent all there was to publish; says when
    {"do": "wait", "subscriptions": ["EVENT"]}         until somebody subscribed to each of these
    {"do": "wait", "hook": 3, "records": 5}            until so many results of this hook came; `results` counts all
    {"do": "raft", "state": "FOLLOWER", "leader": "http://..."}   LEADER, FOLLOWER, SOLO, CANDIDATE or OBSERVER
    {"do": "freeze"}   {"do": "thaw"}                  the driver stops as a process that hangs; and goes on
    {"do": "kill"}                                     the driver dies, and oned starts it again
    {"do": "down"}     {"do": "up"}   {"do": "restart"}     all of it
    {"do": "break", "method": "one.hookpool.info", "how": "http500", "times": 2}     also hang, garbage, auth, slow
    {"do": "mend"}                                     nothing is broken any more
    {"do": "records", "hook": 3}                       the execution records it keeps of a hook
    {"do": "results"}                                  all results that came, those too that it dropped in silence
    {"do": "calls"}                                    the XML-RPC calls that were received
    {"do": "published"}                                the newest documents that were published
    {"do": "state"}    {"do": "quit"}
"""

import argparse
import base64
import collections
import http.client
import json
import os
import re
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
import xmlrpc.client
import xmlrpc.server
from xml.etree import ElementTree
from xml.parsers import expat

from oned_documents import (
    HOST_STATES,
    IMAGE_STATES,
    LCM_STATES,
    ON,
    POOLS,
    RAFT_STATES,
    VM_STATES,
    VNET_STATES,
    Hook,
    Resource,
    api_event,
    parse_template,
)

# ---------------------------------------------------------------------------------------------------------------------
# The driver.


class Driver:
    """The driver's process as oned has it: written to by a thread that waits while it hangs, read by another."""

    def __init__(self, events_port, replies_port, high_water_mark, took):
        self.took, self.backlog = took, collections.deque()
        self.condition, self.flushed, self.published_at = threading.Condition(), 0, 0.0
        self.subscriptions = collections.Counter()
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "oned_driver.py")
        command = [sys.executable, script, str(events_port), str(replies_port), str(high_water_mark)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        said = self.process.stdout.readline()
        if said != b"INIT SUCCESS\n":
            raise SystemExit("the driver did not start: is pyzmq there, and are the ports free?")
        threading.Thread(target=self._write, daemon=True).start()
        threading.Thread(target=self._read, daemon=True).start()

    def order(self, *words):
        with self.condition:
            self.backlog.append(b" ".join(word if isinstance(word, bytes) else word.encode() for word in words) + b"\n")
            self.condition.notify_all()

    def _write(self):
        while True:
            with self.condition:
                self.condition.wait_for(lambda: self.backlog)
                line = self.backlog.popleft()
            try:
                self.process.stdin.write(line)
                self.process.stdin.flush()
            except OSError:
                return

    def _read(self):
        for line in self.process.stdout:
            word, argument, *more = line.decode().rstrip("\n").split(" ")
            if word == "RESULT":
                self.took(self.process.stdout.read(int(more[0])), float(argument))
                continue
            with self.condition:
                if word == "FLUSHED":
                    self.flushed, self.published_at = int(argument), float(more[0])
                elif word == "SUBSCRIBE":
                    self.subscriptions[base64.b64decode(argument).decode()] += 1
                elif word == "UNSUBSCRIBE":
                    self.subscriptions[base64.b64decode(argument).decode()] -= 1
                self.condition.notify_all()

    def kill(self):
        self.process.kill()
        self.process.wait()


# ---------------------------------------------------------------------------------------------------------------------
# The calls.

AUTHENTICATION, AUTHORIZATION, NO_EXISTS, ACTION, RPC_API, INTERNAL = 0x100, 0x200, 0x400, 0x800, 0x1000, 0x2000
LOG_RETENTION = 20
# The calls that oned never publishes are those that end in `.info`, but for the backup jobs', and this one.
UNPUBLISHED = re.compile(r"one\.(?!backupjob(pool)?\.)\w+\.info$|one\.vmpool\.infoextended$")


class Refused(Exception):
    """A call that failed: the code, what oned says, and the id it names."""

    def __init__(self, code, message, number=-1):
        super().__init__(message)
        self.code, self.message, self.number = code, message, number


class I8(int):
    """A 64-bit integer, which XML-RPC itself does not have."""


xmlrpc.client.Marshaller.dispatch[I8] = lambda _marshaller, value, write: write(
    f"<value><i8>{int(value)}</i8></value>\n"
)


class Oned:
    """What oned knows, and its calls. Whoever calls holds the lock."""

    def __init__(self, options):
        self.options, self.lock, self.changed = options, threading.RLock(), threading.Condition()
        self.hooks, self.next_hook = {}, 0
        self.records, self.results, self.calls, self.broken = {}, [], [], {}
        self.published = collections.deque(maxlen=1000)
        self.resources = {kind: {} for kind in POOLS}
        self.raft, self.leader, self.term = "SOLO", None, 0
        self.driver, self.mended = None, threading.Event()
        self.methods = {
            "one.hookpool.info": self.hookpool_info,
            "one.hook.info": self.hook_info,
            "one.hook.allocate": self.hook_allocate,
            "one.hook.update": self.hook_update,
            "one.hook.delete": self.hook_delete,
            "one.hook.rename": self.hook_rename,
            "one.hook.lock": self.hook_lock,
            "one.hook.unlock": self.hook_unlock,
            "one.hook.retry": self.hook_retry,
            "one.hooklog.info": self.hooklog_info,
            "one.zone.raftstatus": self.zone_raftstatus,
            "one.vm.info": self.vm_info,
            "one.vmpool.info": self.vmpool_info,
            "one.vmpool.infoextended": self.vmpool_info,
            "one.hostpool.info": lambda: (self.pool("host", -1, -1), ""),
            "one.imagepool.info": lambda flag, start=-1, end=-1: (self.pool("image", start, end), ""),
            "one.vnpool.info": lambda flag, start=-1, end=-1: (self.pool("vnet", start, end), ""),
            "one.system.version": lambda: (self.options.version, ""),
        }

    # -- one call ------------------------------------------------------------------------------------------------------

    def call(self, method, session, parameters):
        """What a client gets: an array with the types oned gives it."""
        if session != self.options.session or self.is_broken(method, "auth"):
            text = f"[{method}] User couldn't be authenticated, aborting call."
            return [False, text, AUTHENTICATION, -1, I8(-1)]
        changes = method.startswith("one.hook.") and not method.endswith(".info")
        if changes and self.raft == "FOLLOWER" and self.leader:
            answer = xmlrpc.client.ServerProxy(self.leader, allow_none=True)
            for name in method.split("."):
                answer = getattr(answer, name)
            answer = answer(session, *parameters)
            # A follower that passed a call on publishes it as well, as a failure without a result.
            self.publish(api_event(method, False, parameters, [], ""))
            return answer
        if changes and self.raft in ("FOLLOWER", "CANDIDATE"):
            why = "no leader found" if self.raft == "FOLLOWER" else "oned cluster in election mode"
            return [False, f"[{method}] Cannot process request, {why}", INTERNAL, -1, I8(-1)]
        extra = ""
        try:
            body, extra = self.methods[method](*parameters)
            answer, out = [True, body, 0], ["true", body, 0]
        except Refused as refused:
            text = f"[{method}] {refused.message}"
            answer = [False, text, refused.code, refused.number, I8(-1)]
            out = ["false", text, refused.code, refused.number]
            extra = getattr(refused, "extra", "")
        if not UNPUBLISHED.match(method):
            self.publish(api_event(method, answer[0], parameters, out, extra))
        return answer

    def is_broken(self, method, how):
        rule = self.broken.get(method) or self.broken.get("*")
        if not rule or rule["how"] != how:
            return False
        rule["times"] -= 1
        if rule["times"] == 0:
            del self.broken[method if method in self.broken else "*"]
        return True

    def publish(self, document):
        self.published.append(document)
        if self.driver:
            self.driver.order("EXECUTE", base64.b64encode(document.encode()))

    # -- hooks ---------------------------------------------------------------------------------------------------------

    def hook(self, number):
        if number not in self.hooks:
            raise Refused(NO_EXISTS, f"Error getting hook [{number}].", number)
        return self.hooks[number]

    def unlocked(self, number):
        """The hook, if it may be changed."""
        hook = self.hook(number)
        if hook.lock:
            raise Refused(AUTHORIZATION, f"User [0] : Not authorized to perform MANAGE HOOK [{number}].")
        return hook

    def in_order(self, elements):
        return sorted(elements, key=lambda e: e.number, reverse=self.options.list_order == "DESC")

    def hookpool_info(self, *_flag_and_range):
        return f"<HOOK_POOL>{''.join(hook.xml() for hook in self.in_order(self.hooks.values()))}</HOOK_POOL>", ""

    def hook_info(self, number, _decrypt=False):
        hook = self.hook(number)
        return hook.xml(f"<HOOKLOG>{''.join(record['xml'] for record in self.kept(number))}</HOOKLOG>"), ""

    def checked(self, kind, template, created):
        """A hook's template as oned keeps it: ON becomes states, and what cannot be is refused."""
        if kind == "api":
            call = template.get("CALL", "")
            known = re.match(r"one\.[a-z]+\.[a-z]+$", call) and not UNPUBLISHED.match(call)
            if not known and not call.startswith("one.internal"):
                if created:
                    raise Refused(INTERNAL, f"API call does not exist or is not supported: {call}")
                raise Refused(INTERNAL, "Cannot update template. The CALL attribute is not defined or it's invalid.")
            return template
        resource = template.get("RESOURCE", "")
        states = {"VM": VM_STATES, "HOST": HOST_STATES, "IMAGE": IMAGE_STATES, "NET": VNET_STATES}
        if not resource:
            raise Refused(INTERNAL, "RESOURCE attribute is required for STATE hooks.")
        if resource not in states:
            raise Refused(INTERNAL, f"Invalid resource type: {resource}")
        if resource == "VM" and created:
            on = template.pop("ON", "").upper()
            if on in ON:
                template["STATE"], template["LCM_STATE"] = ON[on]
            elif on != "CUSTOM":
                raise Refused(INTERNAL, f"Unkown state condition: {on}")
        for attribute, known in (("STATE", states[resource]), ("LCM_STATE", LCM_STATES)):
            value = template.get(attribute, "")
            if (attribute == "STATE" or resource == "VM") and value not in known:
                if created:
                    raise Refused(INTERNAL, f"{'Wrong' if resource == 'VM' else 'Invalid'} {attribute}: {value}")
                text = f"Cannot update template. The {attribute} attribute is not defined or it's invalid."
                raise Refused(INTERNAL, text)
        return template

    def written(self, hook):
        """The hook, if its document can be kept. Nothing in a CDATA section is escaped, so a `]]>` breaks it."""
        try:
            ElementTree.fromstring(hook.xml())
        except ElementTree.ParseError:
            raise Refused(INTERNAL, "Error transforming the Hook to XML.") from None
        return hook

    def hook_allocate(self, text):
        try:
            template = parse_template(text)
        except (ValueError, ElementTree.ParseError) as error:
            raise Refused(INTERNAL, f"Parse error: {error}")
        kind = template.pop("TYPE", "").lower()
        if kind not in ("api", "state"):
            raise Refused(INTERNAL, f"Invalid Hook type: {kind}")
        name = template.pop("NAME", "")
        if not name:
            raise Refused(INTERNAL, "Invalid name.")
        for other in self.hooks.values():
            if other.name == name:
                raise Refused(INTERNAL, f"NAME is already taken by Hook {other.number}.")
        if not template.get("COMMAND"):
            raise Refused(INTERNAL, "No COMMAND in template for Hook.")
        template["REMOTE"] = "YES" if template.get("REMOTE", "").upper() == "YES" else "NO"
        hook = self.written(Hook(self.next_hook, name, kind, self.checked(kind, template, True)))
        self.hooks[hook.number] = hook
        self.next_hook += 1
        return hook.number, hook.xml()

    def hook_update(self, number, text, append=0):
        hook = self.unlocked(number)
        if append not in (0, 1):
            raise Refused(RPC_API, "Wrong update type")
        template = {**(hook.template if append else {}), **parse_template(text)}
        if not template.get("COMMAND"):
            raise Refused(INTERNAL, "Cannot update template. The COMMAND attribute is not defined.")
        self.written(Hook(number, hook.name, hook.kind, self.checked(hook.kind, template, False)))
        hook.template = template
        return number, ""

    def hook_delete(self, number):
        extra = self.hooks[number].xml() if number in self.hooks else ""
        try:
            self.unlocked(number)
        except Refused as refused:
            refused.extra = extra
            raise
        del self.hooks[number]
        self.records.pop(number, None)
        return number, extra

    def hook_rename(self, number, name):
        hook = self.unlocked(number)
        for other in self.hooks.values():
            if other.name == name and other is not hook:
                raise Refused(ACTION, f"NAME is already taken by HOOK [{other.number}]")
        hook.name = name
        return number, ""

    def hook_lock(self, number, level, _test=False):
        hook = self.hook(number)
        if level not in (1, 2, 3, 4):
            raise Refused(ACTION, "Wrong lock level specified")
        hook.lock, hook.locked_at = {4: 1}.get(level, level), int(time.time())
        return number, ""

    def hook_unlock(self, number):
        self.hook(number).lock = 0
        return number, ""

    # -- execution records ---------------------------------------------------------------------------------------------

    def took(self, message, at):
        """A result came. It was acknowledged already; what is no XML is dropped and nothing is said about it."""
        code, _, rest = message.partition(b" ")
        number, _, encoded = rest.partition(b" ")
        code, number = int(code), int(number)
        document = base64.b64decode(encoded).decode(errors="replace")
        with self.lock:
            result = {"rc": code, "hook": number, "document": document, "at": at}
            result["kept"] = self.add_record(number, code, document)
            self.results.append(result)
        with self.changed:
            self.changed.notify_all()

    def add_record(self, number, code, document):
        records = self.records.setdefault(number, [])
        execution = records[-1]["execution"] + 1 if records else 0
        now = int(time.time())
        xml = (
            f"<HOOK_EXECUTION_RECORD><HOOK_ID>{number}</HOOK_ID><EXECUTION_ID>{execution}</EXECUTION_ID>"
            f"<TIMESTAMP>{now}</TIMESTAMP>{document}</HOOK_EXECUTION_RECORD>"
        )
        try:
            # Whether it is well-formed is all that is asked.
            expat.ParserCreate().Parse(xml, True)
        except expat.ExpatError:
            return False
        records.append({"execution": execution, "rc": code, "time": now, "xml": xml})
        del records[:-LOG_RETENTION]
        return True

    def kept(self, number):
        return self.records.get(number, [])

    def hooklog_info(self, earliest, latest, number, code):
        found = []
        for hook, records in sorted(self.records.items(), reverse=True):
            for record in records:
                if (
                    (number < 0 or hook == number)
                    and (earliest < 0 or record["time"] > earliest)
                    and (latest < 0 or record["time"] < latest)
                    and (code == 0 or (code == 1) == (record["rc"] == 0))
                ):
                    found.append(record["xml"])
        return f"<HOOKLOG>{''.join(found)}</HOOKLOG>", ""

    def hook_retry(self, number, execution):
        self.unlocked(number)
        record = next((r for r in self.kept(number) if r["execution"] == execution), None)
        document = ElementTree.fromstring(record["xml"]) if record else None
        arguments = document.findtext("ARGUMENTS") if record else None
        if not arguments:
            raise Refused(INTERNAL, "Invalid HookLog body. Arguments not found.")
        host = document.findtext("REMOTE_HOST")
        message = (
            f"<HOOK_MESSAGE><ARGUMENTS>{base64.b64encode(arguments.encode()).decode()}</ARGUMENTS>"
            f"<HOOK_ID>{number}</HOOK_ID>{f'<REMOTE_HOST>{host}</REMOTE_HOST>' if host else ''}</HOOK_MESSAGE>"
        )
        if self.driver:
            self.driver.order("RETRY", base64.b64encode(message.encode()))
        return number, ""

    # -- pools and the zone --------------------------------------------------------------------------------------------

    def pool(self, kind, start, end, keep=lambda resource: True):
        """The elements from id `start` to id `end`; with `end` below -1, at most `-end` of them from the offset `start`."""
        found = [resource for resource in self.in_order(self.resources[kind].values()) if keep(resource)]
        if end < -1:
            found = found[max(start, 0) : max(start, 0) - end]
        elif start != -1:
            found = [r for r in found if r.number >= start and (end == -1 or r.number <= end)]
        return f"<{POOLS[kind]}>{''.join(resource.xml() for resource in found)}</{POOLS[kind]}>"

    def vmpool_info(self, flag, start=-1, end=-1, state=-1, _query=""):
        if flag < -4:
            raise Refused(RPC_API, "Incorrect filter_flag")
        if state < -2 or state > 11:
            raise Refused(RPC_API, f"Incorrect state filter {state}")

        def keep(vm):
            return state == -2 or (vm.state != "DONE" if state == -1 else VM_STATES[vm.state] == state)

        return self.pool("vm", start, end, keep), ""

    def vm_info(self, number, _decrypt=False):
        if number not in self.resources["vm"]:
            raise Refused(NO_EXISTS, f"Error getting virtual machine [{number}].", number)
        return self.resources["vm"][number].xml(), ""

    def zone_raftstatus(self):
        index = -1 if self.raft == "SOLO" else 100
        return (
            f"<RAFT><SERVER_ID>{-1 if self.raft == 'SOLO' else 0}</SERVER_ID><STATE>{RAFT_STATES[self.raft]}</STATE>"
            f"<TERM>{self.term}</TERM><VOTEDFOR>-1</VOTEDFOR><COMMIT>{max(index, 0)}</COMMIT>"
            f"<LOG_INDEX>{index}</LOG_INDEX><LOG_TERM>{-1 if self.raft == 'SOLO' else self.term}</LOG_TERM>"
            "<FEDLOG_INDEX>-1</FEDLOG_INDEX></RAFT>",
            "",
        )


# ---------------------------------------------------------------------------------------------------------------------
# The XML-RPC server.


class Handler(xmlrpc.server.SimpleXMLRPCRequestHandler):
    rpc_paths = ("/RPC2",)
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self):
        self.server.connections.discard(self.connection)
        super().finish()

    def log_message(self, *_arguments):
        pass

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        if not self.is_rpc_path_valid():
            return self.report_404()
        try:
            parameters, method = xmlrpc.client.loads(body)
        except Exception as error:
            return self.answer(xmlrpc.client.dumps(xmlrpc.client.Fault(-503, f"Call is not valid XML: {error}")))
        oned = self.server.oned
        with oned.lock:
            oned.calls.append({"method": method, "parameters": list(parameters[1:]), "user": parameters[0].split(":")[0]})
            broken = next((how for how in ("http500", "hang", "garbage", "slow") if oned.is_broken(method, how)), None)
        with oned.changed:
            oned.changed.notify_all()
        if broken == "http500":
            return self.send_error(http.client.INTERNAL_SERVER_ERROR)
        if broken == "garbage":
            return self.answer("<methodResponse><params><param><value><array><data><value>\x00")
        if broken == "hang":
            oned.mended.wait()
            self.close_connection = True
            return None
        if broken == "slow":
            oned.mended.wait(2)
        if method not in oned.methods:
            return self.answer(xmlrpc.client.dumps(xmlrpc.client.Fault(-506, f"Method '{method}' not defined")))
        try:
            with oned.lock:
                result = oned.call(method, parameters[0], parameters[1:])
        except TypeError as error:
            return self.answer(xmlrpc.client.dumps(xmlrpc.client.Fault(-501, str(error))))
        return self.answer(xmlrpc.client.dumps((result,), methodresponse=True))

    def answer(self, text):
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/xml; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(socketserver.ThreadingMixIn, xmlrpc.server.SimpleXMLRPCServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port, oned):
        self.oned, self.connections = oned, set()
        super().__init__(("127.0.0.1", port), Handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def handle_error(self, _request, _address):
        pass  # A client that went away in the middle is no news.

    def end(self):
        self.shutdown()
        self.server_close()
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


# ---------------------------------------------------------------------------------------------------------------------
# Steering.


def reserve(port):
    """A port nobody else gets, free for those who bind it with SO_REUSEADDR while this socket lives."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", port))
    return held


class House:
    """oned with its driver and its server, as the lines of JSON steer them."""

    def __init__(self, options):
        self.options, self.oned, self.server, self.flushes = options, Oned(options), None, 0
        self.held = [reserve(port) for port in (options.xmlrpc_port, options.events_port, options.replies_port)]
        self.ports = [held.getsockname()[1] for held in self.held]

    def addresses(self):
        xmlrpc_port, events, replies = self.ports
        return {
            "xmlrpc": f"http://127.0.0.1:{xmlrpc_port}/RPC2",
            "events": f"tcp://127.0.0.1:{events}",
            "replies": f"tcp://127.0.0.1:{replies}",
            "session": self.options.session,
        }

    def obey(self, order):
        do = getattr(self, f"do_{order.pop('do', '')}", None)
        if not do:
            raise ValueError("there is no such order; see --help")
        return do(**order) or {}

    def start_driver(self):
        self.oned.driver = Driver(*self.ports[1:], self.options.hwm, self.oned.took)

    def do_up(self):
        if not self.oned.driver:
            self.start_driver()
        if not self.server:
            self.server = Server(self.ports[0], self.oned)

    def do_down(self):
        if self.server:
            self.server.end()
        if self.oned.driver:
            self.oned.driver.kill()
        self.server = self.oned.driver = None

    def do_restart(self):
        self.do_down()
        self.do_up()

    def do_kill(self):
        self.oned.driver.kill()
        self.start_driver()

    def do_freeze(self):
        self.oned.driver.process.send_signal(signal.SIGSTOP)

    def do_thaw(self):
        self.oned.driver.process.send_signal(signal.SIGCONT)

    def change(self, kind, id, state=None, lcm_state=None, publish=None, name=None, host=None, template=None, **rest):
        with self.oned.lock:
            resource = self.oned.resources[kind].setdefault(id, Resource(kind, id))
            first = {"vm": "ACTIVE", "host": "MONITORED"}.get(kind, "READY")
            state = state or resource.state or first
            known = {"vm": VM_STATES, "host": HOST_STATES, "image": IMAGE_STATES, "vnet": VNET_STATES}[kind]
            if kind == "vm" and not lcm_state:
                lcm_state = (resource.lcm_state or "RUNNING") if state == "ACTIVE" else "LCM_INIT"
            if state not in known or (lcm_state and lcm_state not in LCM_STATES):
                raise ValueError(f"no such state: {state} {lcm_state}")
            resource.name, resource.host = name or resource.name, host or resource.host
            resource.template.update(template or {})
            resource.user_template.update(rest.pop("user_template", {}))
            if rest:
                raise ValueError(f"not known: {', '.join(rest)}")
            changed = resource.enter(state, lcm_state)
            publish = changed if publish is None else publish
            if publish:
                self.oned.publish(resource.event())
            return {"changed": changed, "published": publish}

    def do_vm(self, **order):
        return self.change("vm", **order)

    def do_host(self, **order):
        return self.change("host", **order)

    def do_image(self, **order):
        return self.change("image", **order)

    def do_vnet(self, **order):
        return self.change("vnet", **order)

    def do_forget(self, kind, id):
        """The resource is not there any more, and nobody is told."""
        with self.oned.lock:
            self.oned.resources[kind].pop(id)

    def do_burst(self, count, vms=500, size=1000, first=0, state="ACTIVE", lcm_state="RUNNING", per_second=None):
        began = time.monotonic()
        padding = {"PADDING": "x" * max(0, size - 1200)}
        for n in range(count):
            if per_second:
                time.sleep(max(0, began + n / per_second - time.monotonic()))
            number = first + n % vms
            self.change("vm", number, state, lcm_state, True, user_template={**padding, "NUMBER": str(n)})

    def do_api(self, call, result=True, out="", extra="", **order):
        outs = ["true" if result else "false", out, 0 if result else INTERNAL, *([] if result else [-1])]
        self.oned.publish(api_event(call, result, order.get("in", []), outs, extra))

    def do_publish(self, key, content):
        self.oned.driver.order("PUBLISH", base64.b64encode(key.encode()), base64.b64encode(content.encode()))

    def do_event(self, document):
        self.oned.publish(document)

    def do_call(self, method, parameters=()):
        with self.oned.lock:
            answer = self.oned.call(method, self.options.session, list(parameters))
        return {"answer": answer}

    def do_flush(self, within=50):
        driver = self.oned.driver
        self.flushes += 1
        driver.order("FLUSH", str(self.flushes))
        with driver.condition:
            if not driver.condition.wait_for(lambda: driver.flushed >= self.flushes, within):
                raise TimeoutError("the driver does not publish")
            return {"published_at": driver.published_at}

    def do_wait(self, subscriptions=None, hook=None, records=None, results=None, calls=None, method=None, within=50):
        oned, driver = self.oned, self.oned.driver
        if subscriptions:
            with driver.condition:
                if not driver.condition.wait_for(lambda: all(driver.subscriptions[s] > 0 for s in subscriptions), within):
                    raise TimeoutError(f"subscribed are {sorted(+driver.subscriptions)}")

        def there():
            taken = [result for result in oned.results if result["kept"] and result["hook"] == hook]
            called = [call for call in oned.calls if method in (None, call["method"])]
            return len(taken) >= (records or 0) and len(oned.results) >= (results or 0) and len(called) >= (calls or 0)

        with oned.changed:
            if not oned.changed.wait_for(there, within):
                raise TimeoutError(f"there are {len(oned.results)} results and {len(oned.calls)} calls")

    def do_raft(self, state, leader=None):
        if state not in RAFT_STATES:
            raise ValueError(f"no such state: {state}")
        self.oned.raft, self.oned.leader, self.oned.term = state, leader, self.oned.term + 1

    def do_break(self, how, method="*", times=0):
        if how not in ("http500", "hang", "garbage", "auth", "slow"):
            raise ValueError(f"no such way: {how}")
        self.oned.broken[method] = {"how": how, "times": times}
        if how == "hang":
            self.oned.mended.clear()

    def do_mend(self):
        self.oned.broken.clear()
        self.oned.mended.set()

    def do_session(self, session):
        """Other credentials hold from now on."""
        self.options.session = session

    def do_record(self, hook, document, rc=0):
        """A record as if a result had come."""
        with self.oned.lock:
            return {"kept": self.oned.add_record(hook, rc, document)}

    def do_records(self, hook):
        with self.oned.lock:
            return {"records": list(self.oned.kept(hook))}

    def do_results(self, since=0):
        with self.oned.lock:
            return {"results": self.oned.results[since:]}

    def do_calls(self, since=0):
        with self.oned.lock:
            return {"calls": self.oned.calls[since:]}

    def do_published(self):
        """The newest documents that were published, without what `publish` sent as it is."""
        with self.oned.lock:
            return {"documents": list(self.oned.published)}

    def do_state(self):
        oned = self.oned
        return {
            **self.addresses(),
            "raft": oned.raft,
            "hooks": {number: hook.name for number, hook in oned.hooks.items()},
            "subscriptions": dict(+oned.driver.subscriptions) if oned.driver else {},
            "results": len(oned.results),
            "dropped": sum(not result["kept"] for result in oned.results),
        }

    def do_quit(self):
        raise EOFError


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--xmlrpc-port", type=int, default=0, metavar="PORT", help="a free one if not given")
    parser.add_argument("--events-port", type=int, default=0, metavar="PORT")
    parser.add_argument("--replies-port", type=int, default=0, metavar="PORT")
    parser.add_argument("--session", default="oneadmin:opennebula", metavar="USER:PASSWORD", help="who may call")
    parser.add_argument("--auth-file", metavar="FILE", help="write the session there, as ONE_AUTH names it")
    parser.add_argument("--hook", action="append", default=[], metavar="FILE", help="a template as onehook create takes it")
    parser.add_argument("--hwm", type=int, default=1000, help="messages kept for a subscriber that is slow; 0 is no limit")
    parser.add_argument("--list-order", choices=["ASC", "DESC"], default="ASC", help="of pools, as in oned.conf")
    parser.add_argument("--raft", choices=list(RAFT_STATES), default="SOLO")
    parser.add_argument("--version", default="7.3.85", help="what one.system.version says")
    parser.add_argument("--stay", action="store_true", help="go on when standard input ends")
    options = parser.parse_args()

    house = House(options)
    house.oned.raft = options.raft
    for file in options.hook:
        with open(file, encoding="utf-8") as template, house.oned.lock:
            house.oned.hook_allocate(template.read())
    if options.auth_file:
        with open(os.open(options.auth_file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as auth:
            auth.write(options.session + "\n")
    house.do_up()
    print(json.dumps({"ready": True, **house.addresses()}), flush=True)
    try:
        for line in sys.stdin:
            if not line.strip():
                continue
            try:
                answer = {"ok": True, **house.obey(json.loads(line))}
            except EOFError:
                return
            except Exception as error:
                answer = {"ok": False, "error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer), flush=True)
        while options.stay:
            signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        house.do_down()


if __name__ == "__main__":
    main()
