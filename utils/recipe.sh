# shellcheck shell=bash
# shellcheck disable=SC2154 # who sources it sets stage, stop_stage and recipe before
# What run.sh and steps/grid.sh share.

log() { echo "$(date '+%F %T') ${recipe##*/}: $*" >&2; }

die() { echo "error: $*" >&2; exit 1; }

# Whether a stage is asked for.
wanted() { ((stage <= $1 && $1 <= stop_stage)); }

# Asks a process group to end, and waits for it.
end() { # <process>
  kill -TERM -- "-$1" 2>/dev/null || :
  wait "$1" || :
}

# Runs a command so that a signal to this script ends it too, with its jobs: they write what they have and go.
launch() {
  local child code=0
  set -m # a process group of its own, so that the signal reaches all of it
  "$@" &
  child=$!
  set +m
  trap 'end "$child"; exit 143' TERM HUP
  trap 'end "$child"; echo "error: interrupted. Rerun the same command to resume." >&2; exit 130' INT
  wait "$child" || code=$?
  trap - INT TERM HUP
  return "$code"
}
