#!/bin/sh
# A stand-in: it says what it was given. Whatever is known of the event is in the environment, too.
shift
echo "$HEM_NCMP_EVENT of $HEM_NCMP_TOPIC: $*"
