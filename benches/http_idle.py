#!/usr/bin/env python3
"""Thousands of connections that say nothing, or begin to speak and stop, and requests beside them.

    cargo build --release
    python3 benches/http_idle.py --connections 10000

A third of the connections sends nothing, a third half of a head, a third half of a body. It prints how long other requests take
without them and with them, what they cost hem in memory, and that every one of them is still there: those that began a request
finish it, and are answered. It takes as many open files as connections, and hem 4,096 more, which it leaves for everything else
(`ulimit -Hn`; `LimitNOFILE=` of a unit).
"""

import argparse
import http.client
import json
import pathlib
import re
import resource
import socket
import statistics
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
HEAD = b"POST /event HTTP/1.1\r\nHost: hem\r\nContent-Type: application/json\r\n"
LENGTH = b"Content-Length: 2\r\n\r\n"
# What each third sends, and what is left to send.
THIRDS = ((b"", HEAD + LENGTH + b"{}"), (HEAD, LENGTH + b"{}"), (HEAD + LENGTH + b"{", b"}"))


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def allow_files(number):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < number:
        raise SystemExit(f"this takes {number} open files, and {hard} are allowed: raise `ulimit -Hn`")
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))


def start(program, folder, port, connections):
    (folder / "hooks.d").mkdir()
    (folder / "hem.yaml").write_text(
        "state_dir: state\nhooks_dir: hooks.d\nscripts_dir: .\ncontrol: { socket: hem.sock }\npermissions: lax\nlog: warn\nsources:\n"
        f"  web:\n    type: webhook\n    listen: 127.0.0.1:{port}\n    limits: {{ connections: {connections}, head_time: 10m, "
        "body_time: 10m }\n    endpoints: { event: {} }\n"
    )
    hem = subprocess.Popen([program, "run", "--config", "hem.yaml"], cwd=folder, stdin=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return hem
        except OSError:
            if hem.poll() is not None or time.monotonic() > end:
                raise SystemExit("hem does not start") from None
            time.sleep(0.02)


def resident(hem):
    status = pathlib.Path(f"/proc/{hem.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1000


def sockets(hem):
    return sum(1 for file in pathlib.Path(f"/proc/{hem.pid}/fd").iterdir() if str(file.readlink()).startswith("socket:"))


def latencies(port, requests):
    """Each request over a connection of its own, as senders of webhooks do it; in milliseconds."""
    took = []
    for number in range(requests):
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("POST", "/event", json.dumps({"number": number}), {"Content-Type": "application/json"})
        status = connection.getresponse().status
        connection.close()
        if status != 202:
            raise SystemExit(f"a request was answered with {status}")
        took.append((time.monotonic() - began) * 1000)
    return f"median {statistics.median(took):.2f} ms, 99th percentile {statistics.quantiles(took, n=100)[98]:.2f} ms"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hem", default=ROOT / "target/release/hem", type=pathlib.Path, help="the program, built for release")
    parser.add_argument("--connections", default=10_000, type=int, help="(default 10000)")
    parser.add_argument("--requests", default=500, type=int, help="requests beside them (default 500)")
    arguments = parser.parse_args()
    if not arguments.hem.exists():
        raise SystemExit(f"there is no {arguments.hem}: run `cargo build --release`")
    # A few more than are idle: those beside them must not push one out.
    limit = arguments.connections + 100
    allow_files(limit + 4_096)
    port = free_port()
    with tempfile.TemporaryDirectory(dir=ROOT / "target", prefix="http-idle-") as folder:
        hem = start(arguments.hem.resolve(), pathlib.Path(folder), port, limit)
        try:
            latencies(port, 50)
            print(f"requests beside none: {latencies(port, arguments.requests)}")
            memory, before = resident(hem), sockets(hem)
            began = time.monotonic()
            idle = []
            for number in range(arguments.connections):
                connection = socket.create_connection(("127.0.0.1", port), timeout=60)
                connection.sendall(THIRDS[number % 3][0])
                idle.append(connection)
            end = time.monotonic() + 60
            while sockets(hem) < before + arguments.connections:
                if time.monotonic() > end:
                    raise SystemExit(f"hem has {sockets(hem)} sockets, and not {arguments.connections} more than {before}")
                time.sleep(0.05)
            print(f"{arguments.connections} idle connections were taken in {time.monotonic() - began:.1f} s")
            print(f"requests beside them: {latencies(port, arguments.requests)}")
            more = resident(hem) - memory
            print(f"resident memory: {memory:.1f} MB without, {more:.1f} MB more with them ({more * 1000 / arguments.connections:.1f} kB each)")
            for number, connection in enumerate(idle):
                connection.sendall(THIRDS[number % 3][1])
            for connection in idle:
                answer = connection.recv(4096)
                if not answer.startswith(b"HTTP/1.1 202"):
                    raise SystemExit(f"one of them was answered {answer[:60]!r}")
            print(f"all {arguments.connections} then sent the rest of their request, and were answered with 202")
        finally:
            hem.terminate()
            hem.wait()


if __name__ == "__main__":
    main()
