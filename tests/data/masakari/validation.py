#!/usr/bin/env python3
"""Writes validation.jsonl: bodies of notifications, and what the Python libraries under Masakari say of them.

Needs jsonschema, iso8601 and oslo.utils from PyPI; made with 4.26.0, 2.1.0 and 10.2.0. The schemas are those that
Masakari's API is documented to have.
"""
import json
import random

import iso8601
import jsonschema
from oslo_utils import uuidutils

EVENTS = ("STARTED", "STOPPED")
TEXT = {"type": "string", "minLength": 1, "maxLength": 255}
OUTER = {
    "type": "object",
    "properties": {
        "notification": {
            "type": "object",
            "properties": {
                "type": {"type": "string", "enum": ("COMPUTE_HOST", "VM", "PROCESS")},
                "hostname": {**TEXT, "pattern": "^[a-zA-Z0-9-._]*$"},
                "generated_time": {"type": "string", "format": "date-time"},
                "payload": {
                    "type": "object",
                    "patternProperties": {"^[a-zA-Z0-9-_:. ]{1,255}$": {"type": "string", "maxLength": 255}},
                    "additionalProperties": False,
                },
            },
            "required": ["type", "hostname", "generated_time", "payload"],
            "additionalProperties": False,
        }
    },
    "required": ["notification"],
    "additionalProperties": False,
}


def payload(properties, required):
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


INNER = {
    "COMPUTE_HOST": payload(
        {
            "host_status": {"enum": ("NORMAL", "UNKNOWN"), "type": "string"},
            "cluster_status": {"enum": ("ONLINE", "OFFLINE"), "type": "string"},
            "event": {"enum": EVENTS, "type": "string"},
        },
        ["event"],
    ),
    "PROCESS": payload(
        {
            "process_name": {"type": "string", "minLength": 1, "maxLength": 4096},
            "event": {"enum": EVENTS, "type": "string"},
        },
        ["process_name", "event"],
    ),
    "VM": payload(
        {"instance_uuid": {"type": "string", "format": "uuid"}, "vir_domain_event": TEXT, "event": TEXT},
        ["instance_uuid", "vir_domain_event", "event"],
    ),
}
FORMATS = jsonschema.FormatChecker(formats=())


@FORMATS.checks("date-time", ValueError)
def is_time(value):
    iso8601.parse_date(value)
    return True


@FORMATS.checks("uuid")
def is_uuid(value):
    return uuidutils.is_uuid_like(value)


def first_fault(schema, body):
    for error in jsonschema.Draft4Validator(schema, format_checker=FORMATS).iter_errors(body):
        if error.path:
            return "Invalid input for field/attribute %s. Value: %s. %s" % (
                error.path.pop(),
                error.instance,
                error.message,
            )
        return error.message
    return None


def said(body):
    return first_fault(OUTER, body) or first_fault(INNER[body["notification"]["type"]], body["notification"]["payload"])


UUID = "96ab1c42-668c-4f2d-8689-afa3301d4ee9"
GOOD = [
    {"event": "STOPPED", "host_status": "NORMAL", "cluster_status": "ONLINE"},
    {"event": "STARTED", "process_name": "nova-compute"},
    {"event": "LIFECYCLE", "vir_domain_event": "STOPPED_FAILED", "instance_uuid": UUID},
]
TIMES = [
    "2026-11-21T23:00:00.123456", "2017-04-24 08:34:46", "2026-11-21T23:30:00+02:00", "yesterday", "", "2026-13-01",
    "2017", "201704", "2017-123", "2017-04-24T10:3", "2017-04-24T25:00:00", "20170424T083446Z", "2017-04-24T08:34:46+24:00",
    "2017-02-29", "2016-02-29T08,5", "2017-04-24T08:34:46.1234567890-0130", "2017-4-5T08:34", "0000-01-01",
]
ODD = [None, True, False, 0, -1, 1.5, 1e16, 0.00001, 12345678901234567890, [], [1, "a"], {}, {"a": None}, "", "x", "it's",
       'it\'s "so"', "a\nb\tc\\d", "ä ö", "no de", "a" * 256, "\u0007", "日本", "😀", "\u00a0", "stopped", "STOPPED", UUID, UUID.upper()]
KEYS = ["event", "host_status", "cluster_status", "process_name", "instance_uuid", "vir_domain_event", "zzz", "a b:c.d-e_f", "ä", "",
        "a/b", "it's", "k" * 255, "k" * 256]


def bodies(rng):
    yield from ODD
    yield from [{"notification": odd} for odd in ODD]
    yield {"notification": {}, "other": 1}
    for time in TIMES:
        yield {"notification": {"type": "PROCESS", "hostname": "node1", "generated_time": time, "payload": GOOD[1]}}
    for _ in range(700):
        kind = rng.choice(["COMPUTE_HOST", "PROCESS", "VM"])
        inner = dict(GOOD[["COMPUTE_HOST", "PROCESS", "VM"].index(kind)])
        for _ in range(rng.choice([0, 0, 1, 1, 2])):
            inner[rng.choice(KEYS)] = rng.choice(ODD)
        for key in rng.sample(list(inner), k=rng.choice([0, 0, 0, 1])):
            del inner[key]
        outer = {"type": kind, "hostname": "node1", "generated_time": rng.choice(TIMES[:3]), "payload": inner}
        what = rng.random()
        if what < 0.15:
            outer[rng.choice(list(outer))] = rng.choice(ODD)
        elif what < 0.25:
            del outer[rng.choice(list(outer))]
        elif what < 0.32:
            outer[rng.choice(["zzz", "it's", "ä", "name"])] = rng.choice(ODD)
        elif what < 0.36:
            outer["generated_time"] = rng.choice(TIMES)
        items = list(outer.items())
        rng.shuffle(items)
        yield {"notification": dict(items)}


def main():
    rng = random.Random(20261121)
    with open("validation.jsonl", "w", encoding="ascii") as lines:
        for body in bodies(rng):
            lines.write(json.dumps({"body": body, "said": said(body)}) + "\n")


main()
