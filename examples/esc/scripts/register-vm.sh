#!/bin/sh
# A stand-in: it says what it was given. Whatever is known of the event is in the environment, too.
shift
echo "$HEM_ESC_EVENT $HEM_ESC_STATUS via $HEM_ESC_VIA: $*"
