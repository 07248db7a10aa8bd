#!/usr/bin/env python3
"""A stand-in for Keystone, OpenStack's identity service: version 3 of its API as far as tokens are concerned.

It needs Python 3 alone, and serves the tests of hem and everybody who wants to try hem's `auth: { keystone: … }` without a cloud. A
token is had by name and password, scoped to a project or not; whoever has the role `admin` or `service` may look at the tokens of others.
What it answers has the form that the clients of OpenStack expect and that `keystonemiddleware` answers with in front of a service.

    python3 keystone.py --port 5000 --user nova:secret:service:admin --user demo:secret:demo:member --stay

Each `--user` is NAME:PASSWORD:PROJECT:ROLE[,ROLE]. Its first line says where it listens. Then it obeys the lines of http_stand_in.py, and

    {"do": "user", "name": "nova", "password": "secret", "project": "service", "roles": ["admin"]}    also changes one
    {"do": "token", "user": "nova"}        a token of that user, for its project
    {"do": "revoke", "user": "nova"}       the tokens of that user are none any more
    {"do": "lifetime", "seconds": 5}       tokens that are given from now on end so soon
    {"do": "catalog", "url": "http://127.0.0.1:15868/v1"}    where clients find the instance-ha service
"""

import argparse
import datetime
import json
import signal
import threading
import urllib.parse
import uuid

from http_stand_in import Fault, StandIn

UNAUTHORIZED = "The request you have made requires authentication."


def error(status, title, message, headers=()):
    return Fault(status, {"error": {"code": status, "message": message, "title": title}}, headers=headers)


def moment(time):
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Keystone(StandIn):
    def __init__(self, port):
        self.users, self.tokens, self.lifetime, self.catalog_url = {}, {}, 3600, None
        super().__init__(port)

    def do_user(self, order):
        with self.lock:
            known = self.users.get(order["name"], {"id": uuid.uuid4().hex, "project_id": uuid.uuid4().hex})
            self.users[order["name"]] = {**known, **order}
            return {"project_id": self.users[order["name"]]["project_id"]}

    def do_token(self, order):
        with self.lock:
            return {"token": self.issue(self.users[order["user"]], True)[0]}

    def do_revoke(self, order):
        with self.lock:
            self.tokens = {id: token for id, token in self.tokens.items() if token["user"]["name"] != order["user"]}

    def do_lifetime(self, order):
        self.lifetime = order["seconds"]

    def do_catalog(self, order):
        self.catalog_url = order["url"]

    def version(self):
        return {
            "id": "v3.14",
            "status": "stable",
            "updated": "2020-04-07T00:00:00Z",
            "links": [{"rel": "self", "href": f"{self.url}/v3/"}],
            "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}],
        }

    def issue(self, user, is_scoped):
        now = datetime.datetime.now(datetime.timezone.utc)
        token = {
            "methods": ["password"],
            "user": {
                "id": user["id"],
                "name": user["name"],
                "domain": {"id": "default", "name": "Default"},
                "password_expires_at": None,
            },
            "audit_ids": [uuid.uuid4().hex[:22]],
            "issued_at": moment(now),
            "expires_at": moment(now + datetime.timedelta(seconds=self.lifetime)),
        }
        if is_scoped:
            token |= {
                "project": {
                    "id": user["project_id"],
                    "name": user["project"],
                    "domain": {"id": "default", "name": "Default"},
                },
                "roles": [{"id": uuid.uuid5(uuid.NAMESPACE_DNS, role).hex, "name": role} for role in user["roles"]],
                "is_domain": False,
                "catalog": self.catalog(),
            }
        id = "gAAAAA" + uuid.uuid4().hex + uuid.uuid4().hex
        self.tokens[id] = token
        return id, token

    def catalog(self):
        if self.catalog_url is None:
            return []
        endpoints = [
            {
                "id": uuid.uuid4().hex,
                "interface": interface,
                "region": "R",
                "region_id": "R",
                "url": self.catalog_url,
            }
            for interface in ("public", "internal", "admin")
        ]
        return [{"id": uuid.uuid4().hex, "type": "instance-ha", "name": "masakari", "endpoints": endpoints}]

    def known(self, id):
        token = self.tokens.get(id)
        if token and token["expires_at"] > moment(datetime.datetime.now(datetime.timezone.utc)):
            return token
        return None

    def answer(self, method, path, headers, body):
        parts = urllib.parse.urlsplit(path)
        if parts.path in ("", "/"):
            return 300, {"versions": {"values": [self.version()]}}, []
        if parts.path.rstrip("/") == "/v3":
            return 200, {"version": self.version()}, []
        if parts.path == "/v3/auth/tokens" and method == "POST":
            return self.log_in(json.loads(body)["auth"])
        if parts.path == "/v3/auth/tokens" and method in ("GET", "HEAD"):
            return self.look_at(headers, "nocatalog" in parts.query)
        raise error(404, "Not Found", "The resource could not be found.")

    def log_in(self, auth):
        said = auth["identity"].get("password", {}).get("user", {})
        by_id = {user["id"]: user for user in self.users.values()}
        user = by_id.get(said.get("id")) or self.users.get(said.get("name"))
        if user is None or said.get("password") != user["password"]:
            raise error(401, "Unauthorized", UNAUTHORIZED, [("WWW-Authenticate", f'Keystone uri="{self.url}/v3"')])
        project = auth.get("scope", {}).get("project")
        if project and user["project"] != project.get("name") and user["project_id"] != project.get("id"):
            raise error(401, "Unauthorized", UNAUTHORIZED)
        id, token = self.issue(user, project is not None)
        return 201, {"token": token}, [("X-Subject-Token", id), ("Vary", "X-Auth-Token")]

    def look_at(self, headers, without_catalog):
        own, id = self.known(headers.get("X-Auth-Token")), headers.get("X-Subject-Token")
        if own is None:
            raise error(401, "Unauthorized", UNAUTHORIZED)
        roles = {role["name"] for role in own.get("roles", [])}
        if not roles & {"admin", "service"} and id != headers.get("X-Auth-Token"):
            raise error(403, "Forbidden", "You are not authorized to perform the requested action: identity:validate_token.")
        token = self.known(id)
        if token is None:
            raise error(404, "Not Found", "Failed to validate token")
        if without_catalog:
            token = {name: value for name, value in token.items() if name != "catalog"}
        return 200, {"token": token}, [("X-Subject-Token", id), ("Vary", "X-Auth-Token")]


def main():
    parser = argparse.ArgumentParser(description="A stand-in for Keystone.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--user", action="append", default=[], metavar="NAME:PASSWORD:PROJECT:ROLES")
    parser.add_argument("--catalog", metavar="URL", help="where clients find the instance-ha service")
    parser.add_argument("--stay", action="store_true", help="go on when there are no more orders")
    arguments = parser.parse_args()
    keystone = Keystone(arguments.port)
    keystone.catalog_url = arguments.catalog
    for user in arguments.user:
        name, password, project, roles = user.split(":")
        keystone.do_user({"name": name, "password": password, "project": project, "roles": roles.split(",")})
    keystone.obey()
    if arguments.stay:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        threading.Event().wait()


if __name__ == "__main__":
    main()
