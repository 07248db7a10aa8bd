#!/bin/sh
# Tells of an execution that failed: into the system's log, and by mail where there is one. The whole record is on standard input.
set -eu
shift
execution=$1 ended=$2 said=$3
text="$execution failed ($ended): $said"
if command -v logger >/dev/null; then
    logger -t hem -p user.err -- "$text"
fi
if [ -n "${MAIL_TO:-}" ]; then
    { echo "$text"; echo; cat; echo; echo "hem show $execution"; } | mail -s "hem: $execution failed" -- "$MAIL_TO"
fi
echo "$text"
