#!/usr/bin/env python3
"""Requests over HTTP: what hem takes, durably, and adnanh/webhook beside it, running the same command for the same requests.

    cargo build --release
    apt-get install wrk webhook
    python3 benches/http_load.py

Both are loaded by `wrk` over loopback with as many connections, every request with a body of its own. Each round measures one after
the other, every second round the other way about; the best round of each is compared, and all ratios are printed. Of four parts:

accepted  the answer comes before the command has run: hem's `respond: accepted` (202 once event and execution are on disk), the
          other's default (200; its command is started in the background, and nothing is written down)
result    the answer comes after it has run: hem's `respond: result`, the other's `include-command-output-in-response`
event     hem alone: an event that no hook asks for, accepted durably
masakari  hem alone: notifications of Masakari's API, accepted durably

After each measurement it is checked that hem has an event for every answer, and a success for every execution.
"""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
PARTS = ("accepted", "result", "event", "masakari")

# A notification of a process that was restarted: Masakari does nothing for it, so neither do the numbers of hosts matter.
BODIES = {
    "webhook": '{"number":"%d-%d","repository":{"name":"site"},"ref":"refs/heads/main","commits":[{"id":"5a1f"},{"id":"77c0"}]}',
    "masakari": '{"notification":{"type":"PROCESS","hostname":"compute-%d-%d","generated_time":"2026-11-22T10:00:00.000000",'
    '"payload":{"event":"STOPPED","process_name":"nova-compute"}}}',
}

# wrk gives each thread a number and each request its own; `done` says what came of it as one line of JSON.
SCRIPT = """
local threads = 0
function setup(thread)
   thread:set("id", threads)
   threads = threads + 1
end
function init(args)
   number = tonumber(args[1])
   headers = { ["Content-Type"] = "application/json" }
end
function request()
   number = number + 1
   return wrk.format("POST", nil, headers, string.format('%s', id, number))
end
function done(summary, latency, requests)
   io.write(string.format('\\nFIGURES {"requests":%%d,"microseconds":%%d,"refused":%%d,"broken":%%d,"median":%%d,"p99":%%d}\\n',
      summary.requests, summary.duration, summary.errors.status,
      summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
      latency:percentile(50), latency:percentile(99)))
end
"""


def wait_for(what, holds, within=120):
    end = time.monotonic() + within
    while not (found := holds()):
        if time.monotonic() > end:
            raise SystemExit(f"waited in vain until {what}")
        time.sleep(0.01)
    return found


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def answers(url):
    """Whether somebody is there, whatever the answer is."""
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError:
        pass
    except OSError:
        return False
    return True


class Server:
    """One of the two, as a process on a folder of its own."""

    def __init__(self, folder, command):
        self.folder = folder
        with open(folder / "output", "w") as output:
            self.process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        wait_for(f"{command[0]} listens", lambda: self.process.poll() is not None or answers(self.base))
        if self.process.poll() is not None:
            raise SystemExit(f"{command[0]} does not start: {(folder / 'output').read_text()}")

    def has_children(self):
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task").iterdir()
        return any((task / "children").read_text() for task in tasks)

    def memory(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1000

    def stop(self):
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=5)
            return
        self.process.kill()
        self.process.wait()


class Hem(Server):
    name = "hem"

    def __init__(self, folder, arguments):
        self.program = arguments.hem
        port, masakari = free_port(), free_port()
        self.base = f"http://127.0.0.1:{port}/"
        self.addresses = {part: f"{self.base}{part}" for part in ("accepted", "result", "event")}
        self.addresses["masakari"] = f"http://127.0.0.1:{masakari}/v1/notifications"
        (folder / "hooks.d").mkdir()
        for endpoint in ("accepted", "result"):
            (folder / f"hooks.d/{endpoint}.yaml").write_text(
                f"name: {endpoint}\ntrigger: {{ webhook: {{ name: {endpoint} }} }}\ncommand: /bin/true\nloop_guard: off\n"
            )
        of_masakari = f"  masakari: {{ type: masakari, listen: '127.0.0.1:{masakari}' }}\n"
        (folder / "hem.yaml").write_text(
            f"state_dir: state\nhooks_dir: hooks.d\nscripts_dir: .\ncontrol: {{ socket: hem.sock }}\npermissions: lax\nlog: warn\n"
            f"concurrency: {arguments.concurrency}\nsources:\n  web:\n    type: webhook\n    listen: 127.0.0.1:{port}\n    endpoints:\n"
            f"      accepted: {{}}\n      result: {{ respond: result }}\n      event: {{}}\n"
            f"{of_masakari if 'masakari' in arguments.parts else ''}"
        )
        super().__init__(folder, [self.program, "run", "--config", "hem.yaml"])

    def status(self):
        command = [self.program, "status", "--json", "--socket", self.folder / "hem.sock"]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    def settle(self, part, answered):
        """Waits until everything has run. What was answered must be there: that is what durable means."""
        status = self.status()
        while any(status["executions"].get(state) for state in ("queued", "running")):
            time.sleep(0.05)
            status = self.status()
        source = "masakari" if part == "masakari" else "web"
        accepted = status["events"][source]["accepted"]
        if accepted < answered:
            raise SystemExit(f"hem answered {answered} requests and has {accepted} events")
        states = {state: count for state, count in status["executions"].items() if count}
        runs = part in ("accepted", "result")
        if set(states) - {"succeeded"} or (runs and sum(states.values()) != accepted):
            raise SystemExit(f"not every execution succeeded: {states} of {accepted}")
        return accepted if runs else 0


class Webhook(Server):
    name = "webhook"

    def __init__(self, folder, arguments):
        port = free_port()
        self.base = f"http://127.0.0.1:{port}/"
        self.addresses = {part: f"{self.base}hooks/{part}" for part in ("accepted", "result")}
        hooks = [
            {"id": "accepted", "execute-command": "/bin/true"},
            {"id": "result", "execute-command": "/bin/true", "include-command-output-in-response": True},
        ]
        (folder / "hooks.json").write_text(json.dumps(hooks))
        super().__init__(folder, [arguments.webhook, "-hooks", "hooks.json", "-ip", "127.0.0.1", "-port", str(port)])

    def settle(self, _part, answered):
        """It starts the command of every request it answers; when it has no child left, all of them have run."""
        quiet = 0
        while quiet < 5:
            quiet = 0 if self.has_children() else quiet + 1
            time.sleep(0.01)
        return answered


def load(server, part, arguments, folder):
    """One measurement. The processes of an earlier one are gone, and so is their store."""
    body = BODIES["masakari" if part == "masakari" else "webhook"]
    script = folder / "load.lua"
    script.write_text(SCRIPT % body)
    began = time.monotonic()
    command = ["wrk", "-t1", f"-c{arguments.connections}", f"-d{arguments.seconds}s", "--timeout", "30s"]
    said = subprocess.run(
        [*command, "-s", script, server.addresses[part], "--", "0"], check=True, capture_output=True, text=True
    ).stdout
    line = next((line for line in said.splitlines() if line.startswith("FIGURES ")), None)
    if line is None:
        raise SystemExit(f"wrk says no figures: {said}")
    figures = json.loads(line.removeprefix("FIGURES "))
    if figures["refused"] or figures["broken"] or not figures["requests"]:
        raise SystemExit(f"{server.name} did not take every request: {figures}; {(server.folder / 'output').read_text()[-2000:]}")
    executions = server.settle(part, figures["requests"])
    took = time.monotonic() - began
    return {
        "requests": figures["requests"] / (figures["microseconds"] / 1e6),
        "executions": executions / took,
        "median": figures["median"] / 1000,
        "p99": figures["p99"] / 1000,
        "memory": server.memory(),
    }


def measure(kind, part, arguments):
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="http-load-") as folder:
        folder = pathlib.Path(folder)
        server = kind(folder, arguments)
        try:
            figures = load(server, part, arguments, folder)
        finally:
            server.stop()
    print(
        f"  {kind.name:8} {part:9} {figures['requests']:8,.0f} requests/s, median {figures['median']:7.2f} ms, "
        f"99th {figures['p99']:7.2f} ms, {figures['executions']:7,.0f} executions/s, {figures['memory']:4.0f} MB",
        flush=True,
    )
    return figures


def file_system(folder):
    said = subprocess.run(["stat", "-f", "-c", "%T", folder], check=True, capture_output=True, text=True).stdout
    return said.strip()


def best(rounds, name):
    return max(figures[name] for figures in rounds)


def table(rounds, arguments):
    durable = {"hem": "yes", "webhook": "no"}
    print("\n| part | | durable | requests/s | median | 99th percentile | executions/s | memory at most |")
    print("|---|---|---|---|---|---|---|---|")
    for part in arguments.parts:
        for kind in ("hem", "webhook"):
            found = rounds.get((kind, part))
            if not found:
                continue
            figures = max(found, key=lambda figures: figures["requests"])
            runs = f"{best(found, 'executions'):,.0f}" if part in ("accepted", "result") else ""
            print(
                f"| {part} | {kind} | {durable[kind]} | {figures['requests']:,.0f} | {figures['median']:.2f} ms | "
                f"{figures['p99']:.2f} ms | {runs} | {figures['memory']:.0f} MB |"
            )
    print()
    for part in arguments.parts:
        ours, theirs = rounds.get(("hem", part)), rounds.get(("webhook", part))
        if not (ours and theirs):
            continue
        for name in ("requests", "executions"):
            ratios = [one[name] / other[name] for one, other in zip(ours, theirs)]
            print(
                f"{part}: hem / webhook in {name}/s {best(ours, name) / best(theirs, name):.2f} "
                f"(rounds {min(ratios):.2f} to {max(ratios):.2f}, median {statistics.median(ratios):.2f})"
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hem", default=ROOT / "target/release/hem", type=pathlib.Path, help="the program, built for release")
    parser.add_argument("--webhook", default="webhook", help="adnanh/webhook, Debian's package `webhook`")
    parser.add_argument("--connections", default=64, type=int, help="senders at once (default 64)")
    parser.add_argument("--concurrency", default=10, type=int, help="scripts that hem runs at once (default 10, as hem's own); the other has no limit")
    parser.add_argument("--seconds", default=3, type=int, help="how long each measurement loads (default 3)")
    parser.add_argument("--rounds", default=3, type=int, help="(default 3)")
    parser.add_argument("--parts", default=",".join(PARTS), type=lambda text: text.split(","), help=f"of {', '.join(PARTS)}")
    arguments = parser.parse_args()
    for program, package in (("wrk", "wrk"), (arguments.webhook, "webhook")):
        if not shutil.which(program):
            raise SystemExit(f"`{program}` is missing: run `apt-get install {package}`")
    if not arguments.hem.exists():
        raise SystemExit(f"there is no {arguments.hem}: run `cargo build --release`")
    if set(arguments.parts) - set(PARTS):
        raise SystemExit(f"the parts are {', '.join(PARTS)}")
    arguments.hem = arguments.hem.resolve()
    # `/tmp` is memory on many machines, where an fsync costs nothing.
    arguments.folder = ROOT / "target"
    print(
        f"{arguments.connections} connections, {arguments.seconds} s each, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"hem runs {arguments.concurrency} scripts at once; store on {file_system(arguments.folder)}"
    )
    rounds = {}
    for number in range(arguments.rounds):
        print(f"round {number + 1}")
        for part in arguments.parts:
            kinds = [Hem, Webhook] if part in ("accepted", "result") else [Hem]
            for kind in kinds if number % 2 == 0 else reversed(kinds):
                rounds.setdefault((kind.name, part), []).append(measure(kind, part, arguments))
    table(rounds, arguments)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(main())
