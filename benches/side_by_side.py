#!/usr/bin/env python3
"""onehem-server and hem side by side: the same stand-in for oned, the same hook, one after the other, in one run.

    cargo build --release
    git clone https://github.com/OpenNebula/one
    python3 benches/side_by_side.py --opennebula one

It prints a table of executions a second, the time from publishing an event to its result, memory, and what becomes of
4,000 events when the daemon is restarted in their middle: how many VMs the hook ran for, how many results were told, and
how much of what was lost the daemon said to be lost.

CHECKOUT is a clone of https://github.com/OpenNebula/one, with files or bare. onehem-server.rb runs as it is there, with the
Ruby libraries that are there; only `opennebula/flow.rb` is left out, which it never uses and which needs more packages. It
needs Ruby and, from Debian, ruby-nokogiri, ruby-ffi-rzmq and ruby-xmlrpc; the stand-in needs pyzmq.
"""

import argparse
import base64
import io
import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
HOOK = """NAME=side-by-side
TYPE=state
RESOURCE=VM
ON=RUNNING
COMMAND=%s
ARGUMENTS="$TEMPLATE"
"""
# The ids of the VMs whose events come while somebody measures; those before only show that the daemon is there.
FIRST = 1000


def wait_for(what, holds, within=120):
    end = time.monotonic() + within
    while not (found := holds()):
        if time.monotonic() > end:
            raise SystemExit(f"waited in vain until {what}")
        time.sleep(0.02)
    return found


class Oned:
    """The stand-in, steered by lines of JSON."""

    def __init__(self, folder, *options):
        self.auth = folder / "one_auth"
        command = [sys.executable, ROOT / "tests/peers/oned.py", "--auth-file", self.auth, *options]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addresses = json.loads(self.process.stdout.readline())

    def tell(self, do, **order):
        self.process.stdin.write(json.dumps({"do": do, **order}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if not answer["ok"]:
            raise SystemExit(f"the stand-in did not obey {do}: {answer['error']}")
        return answer

    def create_hook(self, command):
        self.tell("call", method="one.hook.allocate", parameters=[HOOK % command])

    def count(self):
        return self.tell("state")["results"]

    def results(self):
        return self.tell("results")["results"]

    def end(self):
        self.process.stdin.close()
        self.process.wait()


class Daemon:
    """One of the two, as a process on a folder of its own."""

    def __init__(self, folder, oned):
        self.folder, self.oned, self.process, self.failures = folder, oned, None, 0
        self.resident = self.peak = 0.0
        self.environment = {**os.environ, "ONE_XMLRPC": oned.addresses["xmlrpc"], "ONE_AUTH": str(oned.auth)}

    def start(self):
        self.process = subprocess.Popen(
            self.command,
            env={**self.environment, **self.variables},
            stdout=open(self.folder / "output", "a"),
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )

    def look(self):
        """Notes its memory, in MB; starts it again where it ended by itself, as its unit does."""
        if self.process.poll() is not None:
            self.failures += 1
            time.sleep(5)
            self.start()
            return
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        found = {name: int(kb) / 1000 for name, kb in re.findall(r"(VmRSS|VmHWM):\s+(\d+)", status)}
        self.resident, self.peak = found.get("VmRSS", 0.0), max(self.peak, found.get("VmHWM", 0.0))

    def start_again(self):
        """What an operator does with one that is there and answers nothing."""
        self.failures += 1
        self.kill()
        self.start()

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=60)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class OnehemServer(Daemon):
    name = "onehem-server"

    def __init__(self, folder, oned, checkout):
        super().__init__(folder, oned)
        for name in ("lib/ruby/opennebula", "etc", "var"):
            (folder / name).mkdir(parents=True)
        ruby = folder / "lib/ruby"
        for file in ("CommandManager", "ActionManager", "DriverLogger"):
            (ruby / f"{file}.rb").symlink_to(checkout / f"src/mad/ruby/{file}.rb")
        (ruby / "opennebula.rb").symlink_to(checkout / "src/oca/ruby/opennebula.rb")
        for file in (checkout / "src/oca/ruby/opennebula").iterdir():
            if file.name != "flow.rb":
                (ruby / "opennebula" / file.name).symlink_to(file)
        # What packages bring: where their gems are. Debian's are where Ruby looks by itself.
        for empty in ("opennebula/flow.rb", "load_opennebula_paths.rb"):
            (ruby / empty).write_text("# frozen_string_literal: true\n")
        (folder / "etc/onehem-server.conf").write_text(
            ":debug_level: 2\n:hook_base_path: '/'\n:remote_hook_base_path: '/var/tmp/one/hooks'\n"
            f":subscriber_endpoint: '{oned.addresses['events']}'\n:replier_endpoint: '{oned.addresses['replies']}'\n"
            ":concurrency: 10\n"
        )
        self.command = ["ruby", "-I", str(ruby), str(checkout / "src/hem/onehem-server.rb")]
        self.variables = {"ONE_LOCATION": str(folder)}

    def said(self):
        """What it says about what it missed: it counts nothing, so its log would be the place."""
        log = (self.folder / "var/onehem.log").read_text()
        lines = [line for line in log.splitlines() if re.search(r"lost|miss|drop|gap", line, re.IGNORECASE)]
        return "; ".join(lines) or "nothing"


class Hem(Daemon):
    name = "hem"

    def __init__(self, folder, oned, binary):
        super().__init__(folder, oned)
        self.binary = binary
        for name in ("hooks.d", "scripts"):
            (folder / name).mkdir()
        (folder / "hem.yaml").write_text(
            f"state_dir: {folder}/state\nhooks_dir: {folder}/hooks.d\nscripts_dir: {folder}/scripts\n"
            # Of these one hook gets half, so that ten scripts run at once, as with the other.
            f"control: {{ socket: {folder}/hem.sock }}\nconcurrency: 20\npermissions: lax\n"
            "oned: { catch_up: true }\n"
            "sources:\n  opennebula:\n    type: opennebula\n"
            f"    endpoint: {oned.addresses['events']}\n    replies: {oned.addresses['replies']}\n"
        )
        self.command = [str(binary), "--config", str(folder / "hem.yaml"), "run"]
        self.variables = {}

    def status(self):
        command = [str(self.binary), "--config", str(self.folder / "hem.yaml"), "status", "--json"]
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    def said(self):
        """What its status says about what it missed."""
        sums = self.status()["events"]["opennebula"]
        command = [str(self.binary), "--config", str(self.folder / "hem.yaml"), "status"]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        lines = [line.strip() for line in text.splitlines() if re.search(r"gap|caught", line)]
        return f"{sums['lost']} messages lost, {sums['gaps']} gaps; " + "; ".join(lines)


def number_of(argument):
    """The VM's id in what a hook was given."""
    match = re.search(rb"<ID>(\d+)</ID>", base64.b64decode(argument + "=" * (-len(argument) % 4)))
    return int(match[1])


def numbered(results):
    for result in results:
        argument = re.search(r"<ARGUMENTS>([^<]*)</ARGUMENTS>", result["document"])
        yield number_of(argument[1]), result


def ready(oned, daemon):
    """Waits until the daemon runs hooks, and all it was told meanwhile is done."""
    oned.tell("wait", subscriptions=["EVENT STATE VM/ACTIVE/RUNNING"] if daemon.name == "onehem-server" else ["EVENT"])

    def answers():
        before = oned.count()
        oned.tell("vm", id=1, publish=True)
        end = time.monotonic() + 2
        while time.monotonic() < end:
            if oned.count() > before:
                return True
            time.sleep(0.02)
        return False

    wait_for(f"{daemon.name} runs a hook", answers)
    quiet(oned, daemon)


def quiet(oned, daemon, seconds=1.0, enough=None):
    """Waits until no result came for this long, or there are enough of them."""
    count, since = oned.count(), time.monotonic()
    while time.monotonic() - since < seconds and (enough is None or count < enough):
        time.sleep(0.05)
        daemon.look()
        if (now := oned.count()) != count:
            count, since = now, time.monotonic()


def throughput(folder, make, events, size):
    """Executions of /bin/true a second, and memory before, after and at its peak."""
    oned = Oned(folder, "--hwm", "0")
    oned.create_hook("/bin/true")
    daemon = make(oned)
    try:
        daemon.start()
        ready(oned, daemon)
        idle = daemon.resident
        before = oned.count()
        oned.tell("burst", count=events, vms=events, size=size, first=FIRST)
        quiet(oned, daemon, 20, before + events)
        results = oned.results()[before:]
        rate = (len(results) - 1) / (results[-1]["at"] - results[0]["at"])
        daemon.stop()
        return {"rate": rate, "idle": idle, "peak": daemon.peak, "finished": len(results), "failures": daemon.failures}
    finally:
        daemon.kill()
        oned.end()


def latency(folder, make, events, size):
    """From publishing to result, one event at a time."""
    oned = Oned(folder)
    oned.create_hook("/bin/true")
    daemon = make(oned)
    try:
        daemon.start()
        ready(oned, daemon)
        taken = []
        for number in range(FIRST, FIRST + events):
            before = oned.count()
            oned.tell("vm", id=number, user_template={"PADDING": "x" * max(0, size - 1200)})
            published = oned.tell("flush")["published_at"]
            quiet(oned, daemon, 20, before + 1)
            if oned.count() == before:
                daemon.start_again()
                ready(oned, daemon)
                continue
            taken.append((oned.tell("results", since=before)["results"][0]["at"] - published) * 1000)
        daemon.stop()
        taken.sort()
        return {"median": statistics.median(taken), "p99": taken[int(len(taken) * 0.99) - 1], "failures": daemon.failures}
    finally:
        daemon.kill()
        oned.end()


def restart(folder, make, events, size, per_second):
    """What becomes of events when the daemon is restarted in their middle."""
    ran = folder / "ran"
    script = folder / "hook.sh"
    script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$1" >> {ran}\n')
    script.chmod(0o755)
    oned = Oned(folder)
    oned.create_hook(script)
    daemon = make(oned)
    # The VMs are there before anybody looks, so that the daemon can know that they were in another state.
    for number in range(FIRST, FIRST + events):
        oned.tell("vm", id=number, state="PENDING", publish=False)
    try:
        daemon.start()
        ready(oned, daemon)
        half = events // 2
        order = {"vms": half, "size": size, "per_second": per_second}
        oned.tell("burst", count=half, first=FIRST, **order)
        daemon.process.terminate()
        # The second half begins while the daemon is not there; the new one starts when the old one has ended.
        oned.process.stdin.write(json.dumps({"do": "burst", "count": half, "first": FIRST + half, **order}) + "\n")
        oned.process.stdin.flush()
        daemon.process.wait()
        daemon.start()
        assert json.loads(oned.process.stdout.readline())["ok"]
        oned.tell("flush")
        quiet(oned, daemon, 10)
        lines = ran.read_text().split()
        numbers = [number for number in map(number_of, lines) if number >= FIRST]
        acted = set(numbers)
        told = {number for number, _ in numbered(oned.results()) if number >= FIRST}
        said = daemon.said()
        daemon.stop()
        return {
            "acted": len(acted),
            "told": len(told),
            "lost": events - len(acted),
            "said": said,
            "twice": len(numbers) - len(acted),
            "failures": daemon.failures,
        }
    finally:
        daemon.kill()
        oned.end()


def checkout_of(source, folder):
    """The files of a clone, be it bare."""
    if (source / "src/hem/onehem-server.rb").exists():
        return source
    command = ["git", "-C", str(source), "archive", "HEAD", "src/hem", "src/mad/ruby", "src/oca/ruby"]
    archive = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder)
    return folder


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--opennebula", type=pathlib.Path, required=True, metavar="CHECKOUT")
    parser.add_argument("--hem", type=pathlib.Path, default=ROOT / "target/release/hem", metavar="BINARY")
    parser.add_argument("--events", type=int, default=4000, help="of the restart, and of the executions (default: 4000)")
    parser.add_argument("--size", type=int, default=1800, help="bytes of an event (default: 1800, the median of real ones)")
    parser.add_argument("--per-second", type=int, default=1000, help="events a second around the restart (default: 1000)")
    parser.add_argument("--keep", type=pathlib.Path, metavar="FOLDER", help="leave what the daemons wrote there")
    parser.add_argument("--only", choices=["hem", "onehem-server"], help="one of the two")
    options = parser.parse_args()
    if not options.hem.exists():
        raise SystemExit(f"{options.hem} is not there: cargo build --release")
    check = "require 'nokogiri'; require 'ffi-rzmq'; require 'xmlrpc/client'"
    if shutil.which("ruby") is None or subprocess.run(["ruby", "-e", check], stderr=subprocess.DEVNULL).returncode:
        raise SystemExit("apt-get install ruby ruby-nokogiri ruby-ffi-rzmq ruby-xmlrpc")

    with tempfile.TemporaryDirectory(prefix="side-by-side-") as name:
        folder = options.keep or pathlib.Path(name)
        folder.mkdir(exist_ok=True)
        checkout = checkout_of(options.opennebula.resolve(), folder / "opennebula")
        sides = {
            "onehem-server": lambda place: lambda oned: OnehemServer(place, oned, checkout),
            "hem": lambda place: lambda oned: Hem(place, oned, options.hem.resolve()),
        }
        figures = {}
        for side, make in sides.items():
            if options.only not in (None, side):
                continue
            figures[side] = {}
            for what, arguments in (
                (throughput, (options.events, options.size)),
                (latency, (200, options.size)),
                (restart, (options.events, options.size, options.per_second)),
            ):
                place = folder / f"{side}-{what.__name__}"
                place.mkdir()
                print(f"{side}: {what.__doc__.splitlines()[0]}", file=sys.stderr, flush=True)
                found = what(place, make(place), *arguments)
                found["failures"] += figures[side].get("failures", 0)
                figures[side].update(found)
        print_table(figures, options)


def print_table(figures, options):
    rows = [
        ("executions of /bin/true a second", "rate", "{:.0f}"),
        (f"  results of {options.events} events at once", "finished", "{}"),
        ("publish to result, median, ms", "median", "{:.1f}"),
        ("publish to result, 99th percentile, ms", "p99", "{:.1f}"),
        ("resident memory, idle, MB", "idle", "{:.1f}"),
        (f"resident memory at its peak, {options.events} events queued, MB", "peak", "{:.1f}"),
        (f"restart amid {options.events} events: VMs the hook ran for", "acted", "{}"),
        ("  VMs whose result was told", "told", "{}"),
        ("  VMs it never ran for", "lost", "{}"),
        ("  runs that were one too many", "twice", "{}"),
        ("times it ended by itself or answered nothing any more", "failures", "{}"),
    ]
    sides = list(figures)
    print(f"{'':<62}" + "".join(f"{side:>15}" for side in sides) + (f"{'ratio':>10}" if len(sides) == 2 else ""))
    for label, key, form in rows:
        values = [figures[side][key] for side in sides]
        ratio = ""
        if len(values) == 2 and key in ("rate", "median", "p99", "idle", "peak"):
            ratio = f"{values[1] / values[0]:>10.3g}"
        print(f"{label:<62}" + "".join(f"{form.format(value):>15}" for value in values) + ratio)
    for side in sides:
        print(f"what {side} said of what it missed: {figures[side]['said']}")


if __name__ == "__main__":
    main()
