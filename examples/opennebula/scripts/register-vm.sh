#!/bin/sh
# Writes a VM that started running into a register. Usage: register-vm.sh -- ID NAME
set -eu
[ "${1:-}" = -- ] && shift
register=${REGISTER_FILE:-register.tsv}
printf '%s\t%s\t%s\n' "$1" "$2" "$HEM_EVENT_ID" >> "$register"
echo "VM $1 ($2) is in ${register##*/}"
