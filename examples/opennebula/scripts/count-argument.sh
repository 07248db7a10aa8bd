#!/bin/sh
# Shows what arrived: arguments on the command line, bytes on standard input, and who asked.
echo "$# arguments, $(wc -c) bytes on standard input, for ${HEM_SUBJECT:-nothing} by ${HEM_HOOK:-nobody}"
