#!/bin/sh
# Stands for a call of an inventory that is down at first: fails twice, then succeeds.
set -eu
if [ "$HEM_ATTEMPT" -lt 3 ]; then
    echo "the inventory does not answer (attempt $HEM_ATTEMPT)" >&2
    exit 1
fi
echo "$HEM_SUBJECT is in the inventory, at attempt $HEM_ATTEMPT"
