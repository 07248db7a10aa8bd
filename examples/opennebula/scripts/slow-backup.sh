#!/bin/sh
# Stands for a backup that hangs.
echo "backing up $HEM_SUBJECT"
sleep 60
echo "never reached"
