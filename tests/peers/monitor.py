#!/usr/bin/env python3
"""The sender of masakari-monitors with its own retries: sends one notification as its monitors do.

    python3 monitor.py CONFIG RETRIES SECONDS '{"notification": {...}}'

CONFIG is a masakarimonitors.conf with its section [api]. Its log goes to standard error; when it has done with the notification, accepted
or given up, it prints `done`. Needs masakari-monitors.
"""

import json
import logging
import sys
import warnings

warnings.simplefilter("ignore")

from masakarimonitors.ha import masakari  # noqa: E402
import masakarimonitors.conf  # noqa: E402


def main():
    config, retries, seconds, event = sys.argv[1:]
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    masakarimonitors.conf.CONF([], project="masakarimonitors", default_config_files=[config])
    masakari.SendNotification().send_notification(int(retries), float(seconds), json.loads(event))
    print("done")


if __name__ == "__main__":
    main()
