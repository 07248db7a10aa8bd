#!/bin/sh
# Fences a host and moves its machines: the name comes as an argument, behind `--`.
set -eu
[ "$1" != -- ] || shift
echo "fencing $1 (notification ${HEM_NOTIFICATION_UUID:-unknown})"
