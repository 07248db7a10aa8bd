#!/bin/sh
# Starts a virtual machine again: its UUID comes as an argument, behind `--`.
set -eu
[ "$1" != -- ] || shift
echo "starting $1 on ${HEM_HOST:-unknown}"
