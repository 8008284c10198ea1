#!/bin/sh
# Ends processes that have lost their parent: guard.sh SECONDS [FOLDER]
#
# Reads "+ PID" and "- PID" from descriptor 3 until it ends, which it does however the writer dies. The remaining
# processes get SIGTERM, are killed after SECONDS, and FOLDER is removed. Runs in the background.
{
  pids=
  while read -r sign pid; do
    left=
    for known in $pids; do
      [ "$known" = "$pid" ] || left="$left $known"
    done
    pids=$left
    [ "$sign" = + ] && pids="$pids $pid"
  done
  [ -n "$pids" ] || exit 0

  # shellcheck disable=SC2086 # a list of process ids
  kill -TERM $pids 2> /dev/null
  seconds=$1
  while [ "$seconds" -gt 0 ]; do
    alive=
    for pid in $pids; do
      kill -0 "$pid" 2> /dev/null && alive="$alive $pid"
    done
    pids=$alive
    [ -n "$pids" ] || break
    sleep 1
    seconds=$((seconds - 1))
  done
  # shellcheck disable=SC2086
  [ -n "$pids" ] && kill -KILL $pids 2> /dev/null
  [ -n "$2" ] && rm -rf "$2"
} <&3 3<&- &
