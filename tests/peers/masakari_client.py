#!/usr/bin/env python3
"""openstacksdk as operators' tools use it, against a Masakari: creates notifications, lists and shows them. Prints what it got as JSON.

    python3 masakari_client.py '{"auth_type": "none", "auth": {"endpoint": "http://127.0.0.1:15868/v1"}, ...}'

The argument is what `openstack.connect` is called with. Needs openstacksdk.
"""

import json
import sys

import openstack
from openstack import exceptions

MACHINE = "96ab1c42-668c-4f2d-8689-afa3301d4e%02d"


def uuids(found):
    return [notification.notification_uuid for notification in found]


def main():
    cloud = openstack.connect(load_yaml_config=False, load_envvars=False, **json.loads(sys.argv[1]))
    masakari = cloud.instance_ha
    try:
        created = [
            masakari.create_notification(
                type="VM",
                hostname=f"node{number % 2 + 1}",
                generated_time=f"2026-11-21T23:{10 + number}:00",
                payload={
                    "event": "LIFECYCLE",
                    "instance_uuid": MACHINE % number,
                    "vir_domain_event": "STOPPED_FAILED",
                },
            )
            for number in range(5)
        ]
        created.append(
            masakari.create_notification(
                type="COMPUTE_HOST",
                hostname="node1",
                generated_time="2026-11-21T23:20:00",
                payload={"event": "STOPPED", "host_status": "UNKNOWN", "cluster_status": "OFFLINE"},
            )
        )
    except exceptions.HttpException as refused:
        print(json.dumps({"refused": refused.status_code}))
        return
    repeated = None
    try:
        masakari.create_notification(
            type="VM",
            hostname="node1",
            generated_time="2026-11-21T23:10:30",
            payload={"event": "LIFECYCLE", "instance_uuid": MACHINE % 0, "vir_domain_event": "STOPPED_FAILED"},
        )
    except exceptions.ConflictException as conflict:
        repeated = conflict.details
    shown = masakari.get_notification(created[0].notification_uuid)
    try:
        masakari.get_notification("no-such")
        missing = None
    except exceptions.NotFoundException as unknown:
        missing = unknown.details
    print(
        json.dumps(
            {
                "created": uuids(created),
                "statuses": [notification.status for notification in created],
                "repeated": repeated,
                "missing": missing,
                "all": uuids(masakari.notifications()),
                "paged": uuids(masakari.notifications(limit=2)),
                "by_type": uuids(masakari.notifications(type="COMPUTE_HOST")),
                "by_host": uuids(masakari.notifications(source_host_uuid=created[0].source_host_uuid)),
                "since": uuids(masakari.notifications(generated_since="2026-11-21T23:14:00")),
                "sorted": uuids(masakari.notifications(sort_key="generated_time", sort_dir="asc")),
                "shown": {"uuid": shown.notification_uuid, "type": shown.type, "payload": shown.payload},
                "segments": [segment.name for segment in masakari.segments()],
                "hosts": sorted(host.name for segment in masakari.segments() for host in masakari.hosts(segment.uuid)),
            }
        )
    )


if __name__ == "__main__":
    main()
