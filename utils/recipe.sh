# shellcheck shell=bash
# shellcheck disable=SC2154 # who sources it sets the options before
# What run.sh and steps/grid.sh share.

log() { echo "$(date '+%F %T') ${recipe##*/}: $*" >&2; }

die() { echo "error: $*" >&2; exit 1; }

# Options that both have, and the words that remain after them.
check_common() {
  local name
  [[ $# -eq 0 ]] || die "$1: an argument that is no option; ./run.sh --help lists them"
  for name in stage stop_stage; do
    [[ ${!name} =~ ^[0-7]$ ]] || die "--${name//_/-} ${!name}: stages are 0 to 7; ./run.sh --help lists them"
  done
  ((stage <= stop_stage)) || die "--stage $stage --stop-stage $stop_stage: nothing lies between them"
  [[ $nj =~ ^[1-9][0-9]*$ ]] || die "--nj $nj: a number of jobs from 1"
  [[ $data != "$dump" ]] || die "--data $data --dump $dump: preparation replaces folders of data. Give two folders"
  for name in recipe data dump exp; do
    [[ ${!name} != *$'\n'* ]] || die "--$name $(printf %q "${!name}"): a line break in the path. Rename that folder"
  done
  [[ -d $recipe ]] || die "--recipe $recipe: no such folder"
  recipe=$(cd "$recipe" && pwd)
}

# The launchers of cmd.sh, each with its options.
check_commands() {
  local name
  for name in train_cmd cpu_cmd; do
    command -v "${!name%% *}" >/dev/null || die "$name=${!name}: no command ${!name%% *}; see cmd.sh"
  done
}

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
