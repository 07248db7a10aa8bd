#!/bin/sh
# Tells who made which call, from the document on standard input and the words on the command line.
set -eu
bytes=$(wc -c)
echo "$1 made VM $2; the document has $bytes bytes"
