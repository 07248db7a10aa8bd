#!/usr/bin/env python3
"""A stand-in for OpenStack's Masakari as one that is read: its lists of notifications, segments and hosts.

It needs Python 3 alone. What it answers has the form of the recorded answers in tests/data/masakari/http-transcript.txt. Nothing can be
sent to it over HTTP; notifications are made by orders.

    python3 masakari.py --port 15868 --stay

Its first line says where it listens. Then it obeys the lines of http_stand_in.py, and

    {"do": "add", "type": "VM", "host": "node1", "payload": {"event": "LIFECYCLE"}, "status": "new"}     gives id and uuid
    {"do": "status", "id": 3, "status": "running"}
    {"do": "purge", "ids": [1, 2]}                     old ones are removed, as `masakari-manage db purge` does
    {"do": "lose", "keep": 2}                          the database is lost; a copy with so many is put in its place
    {"do": "hide", "id": 3, "hidden": true}            its transaction is not committed yet; and now it is
    {"do": "forget_query"}                             from now on a proxy before it drops what stands behind the `?`, but for a status
"""

import argparse
import datetime
import itertools
import signal
import threading
import urllib.parse
import uuid

from http_stand_in import Fault, StandIn

SEGMENT = "a1b2c3d4-0000-4000-8000-000000000001"

# Two without hosts, and the one that has all of them.
SEGMENTS = [f"a1b2c3d4-0000-4000-8000-00000000000{n}" for n in (2, 3)] + [SEGMENT]


def fault(status, name, message):
    return Fault(status, {name: {"code": status, "message": message}}, "application/json; charset=UTF-8")


class Masakari(StandIn):
    def __init__(self, port, max_limit, token):
        self.rows, self.hosts, self.hidden, self.clock = {}, {}, set(), 0
        self.max_limit, self.token, self.forgets_query = max_limit, token, False
        super().__init__(port)

    def do_add(self, order):
        with self.lock:
            id = max([0, *self.rows]) + 1
            host = self.hosts.setdefault(order["host"], str(uuid.uuid5(uuid.NAMESPACE_DNS, order["host"])))
            # As good as a clock, and no two notifications have the same time.
            self.clock += 1
            made = datetime.datetime(2026, 11, 21, 23, 0) + datetime.timedelta(seconds=self.clock)
            self.rows[id] = {
                "id": id,
                "notification_uuid": str(uuid.uuid4()),
                "generated_time": "2026-11-21T23:00:00.000000",
                "source_host_uuid": host,
                "type": order["type"],
                "payload": order["payload"],
                "status": order.get("status", "new"),
                "failover_segment_uuid": SEGMENT,
                "message": None,
                "created_at": made.strftime("%Y-%m-%dT%H:%M:%S.%f"),
                "updated_at": None,
                "deleted_at": None,
                "deleted": False,
            }
            if order.get("hidden"):
                self.hidden.add(id)
            return {"id": id, "uuid": self.rows[id]["notification_uuid"]}

    def do_status(self, order):
        with self.lock:
            self.rows[order["id"]]["status"] = order["status"]

    def do_purge(self, order):
        with self.lock:
            for id in order["ids"]:
                del self.rows[id]

    def do_lose(self, order):
        with self.lock:
            self.rows = dict(itertools.islice(self.rows.items(), order.get("keep", 0)))

    def do_hide(self, order):
        with self.lock:
            (self.hidden.add if order["hidden"] else self.hidden.discard)(order["id"])

    def do_forget_query(self, order):
        with self.lock:
            self.forgets_query = True

    def answer(self, method, path, headers, body):
        parts = urllib.parse.urlsplit(path)
        query = dict(urllib.parse.parse_qsl(parts.query))
        if self.forgets_query:
            query = {"status": query["status"]} if "status" in query else {}
        place = parts.path.strip("/").split("/")
        if self.token and headers.get("X-Auth-Token") != self.token:
            message = "The request you have made requires authentication."
            raise Fault(401, {"error": {"code": 401, "title": "Unauthorized", "message": message}})
        if method != "GET" or place[0] != "v1":
            raise fault(404, "itemNotFound", "The resource could not be found.")
        match place[1:]:
            case ["notifications"]:
                return 200, {"notifications": self.listed(query)}, []
            case ["notifications", id]:
                for row in self.rows.values():
                    if row["notification_uuid"] == id and row["id"] not in self.hidden:
                        return 200, {"notification": row}, []
                raise fault(404, "itemNotFound", f"No notification with id {id}.")
            case ["segments"]:
                rows = [{"id": n, "uuid": id, "name": f"s{n}"} for n, id in enumerate(SEGMENTS, 1)]
                return 200, {"segments": self.part(rows, query)}, []
            case ["segments", segment, "hosts"] if segment in SEGMENTS:
                hosts = self.hosts.items() if segment == SEGMENT else []
                rows = [{"id": n, "uuid": id, "name": name} for n, (name, id) in enumerate(hosts, 1)]
                return 200, {"hosts": self.part(rows, query)}, []
        raise fault(404, "itemNotFound", "The resource could not be found.")

    def listed(self, query):
        if query.get("sort_key", "created_at") not in ("id", "created_at"):
            raise fault(400, "badRequest", "InvalidSortKey")
        rows = [row for row in self.rows.values() if row["id"] not in self.hidden]
        return self.part(rows, query)

    def part(self, rows, query):
        if "marker" in query and not any(str(row["id"]) == query["marker"] for row in rows):
            raise fault(400, "badRequest", f"Marker {query['marker']} could not be found.")
        if query.get("sort_dir", "desc") == "desc":
            rows.reverse()
        if "marker" in query:
            ids = [str(row["id"]) for row in rows]
            rows = rows[ids.index(query["marker"]) + 1 :]
        rows = [row for row in rows if "status" not in query or query["status"] == row["status"]]
        return rows[: min(int(query.get("limit", self.max_limit)), self.max_limit)]


def main():
    parser = argparse.ArgumentParser(description="A stand-in for Masakari.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--max-limit", type=int, default=1000)
    parser.add_argument("--token", help="the only X-Auth-Token that is taken")
    parser.add_argument("--stay", action="store_true", help="go on when there are no more orders")
    arguments = parser.parse_args()
    masakari = Masakari(arguments.port, arguments.max_limit, arguments.token)
    masakari.obey(endpoint=f"{masakari.url}/v1")
    if arguments.stay:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        threading.Event().wait()


if __name__ == "__main__":
    main()
