#!/bin/sh
# Puts a commit of a site into force: name and commit come as arguments, behind `--`.
set -eu
[ "$1" != -- ] || shift
echo "deploying $1 at $2 (delivery ${HEM_DELIVERY:-unknown})"
