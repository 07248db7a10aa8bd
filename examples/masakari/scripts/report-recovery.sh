#!/bin/sh
# Tells that a recovery did not succeed: type, host and status come as arguments, behind `--`.
set -eu
[ "$1" != -- ] || shift
text="recovery of $1 on $2: $3 (notification ${HEM_NOTIFICATION_UUID:-unknown})"
if command -v logger >/dev/null; then
    logger -t hem -p user.err -- "$text"
fi
echo "$text"
