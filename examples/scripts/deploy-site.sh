#!/bin/sh
# Puts a commit of a site into force: name and commit come as arguments.
set -eu
echo "deploying $1 at $2 (delivery ${HEM_DELIVERY:-unknown})"
