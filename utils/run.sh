#!/usr/bin/env bash
# Runs jobs on this machine, with the interface of Kaldi's run.pl. Written to be used as $train_cmd or $cpu_cmd (cmd.sh).
set -euo pipefail

usage="usage: run.sh [options] [JOB=1:4] exp/log/x.JOB.log command [arguments ...]
  JOB=first:last      one job for each number, which takes the place of JOB in the log's name and in the arguments
  --max-jobs-run N    so many jobs at once (default: the number of cores)
  --mem X --num-threads N --gpu N --time T    for clusters; of no effect here
No word is evaluated by a shell: for pipes, call bash -c '...'."

fail() {
  printf 'error: run.sh: %s\n' "$1" >&2
  exit 1
}

max_jobs_run=$(nproc)
name="" first=1 last=1
while [[ ${1-} == -* ]]; do
  case $1 in
    --help) printf '%s\n' "$usage" && exit 0 ;;
    --max-jobs-run | --mem | --num-threads | --gpu | --time) [[ $# -ge 2 ]] || fail "option $1 needs a value" ;;
    *) fail "unknown option $1; run.sh --help lists them" ;;
  esac
  [[ $1 != --max-jobs-run ]] || max_jobs_run=$2
  shift 2
done
[[ $max_jobs_run =~ ^[1-9][0-9]*$ ]] || fail "--max-jobs-run $max_jobs_run: not a number of 1 or more"
if [[ ${1-} =~ ^([A-Za-z_]+)=([0-9]+)(:([0-9]+))?$ ]]; then
  name=${BASH_REMATCH[1]} first=$((10#${BASH_REMATCH[2]})) last=$((10#${BASH_REMATCH[4]:-${BASH_REMATCH[2]}}))
  [[ $first -le $last ]] || fail "$1: the range is empty"
  shift
fi
[[ $# -ge 2 ]] || { printf '%s\n' "$usage" >&2 && exit 1; }
[[ $first -eq $last || $1 == *"$name"* ]] || fail "$1: the log's name must hold $name, or the jobs share one file"

verdicts=$(mktemp -d "${TMPDIR:-/tmp}/run.sh.XXXXXX")
trap 'rm -rf -- "$verdicts"' EXIT

# One job. Its verdict is a file that it writes last: no file, no success.
run_job() { # <number> <log> <command> [arguments]
  local number=$1 log=$2 code=0
  shift 2
  trap : INT TERM HUP # a signal ends the command; its end is still written down
  SECONDS=0
  # shellcheck disable=SC2094 # of the log, only the last byte is read
  {
    printf '# command'
    printf ' %q' "$@"
    printf '\n# host %s\n# started %s\n' "$(uname -n)" "$(date '+%F %T %z')"
    "$@" || code=$?
    [[ -z $(tail -c 1 -- "$log") ]] || echo
    printf '# ended %s, %d s, exit code %d\n' "$(date '+%F %T %z')" "$SECONDS" "$code"
  } </dev/null >"$log" 2>&1
  echo "$code" >"$verdicts/$number.new"
  mv -- "$verdicts/$number.new" "$verdicts/$number"
}

# Ends every job that runs, with its whole process group: asked first, killed after SER_KILL_WAIT seconds, in which a
# training ends its step and writes its checkpoint.
# shellcheck disable=SC2329 # the traps call it
stop() { # <exit code>
  local pid groups tick
  trap '' INT TERM HUP
  mapfile -t groups < <(jobs -pr)
  printf 'run.sh: stopped; ending %d jobs\n' "${#groups[@]}" >&2
  exec 2>/dev/null
  for pid in "${groups[@]}"; do
    kill -TERM -- "-$pid" || true
  done
  for pid in "${groups[@]}"; do
    for ((tick = 0; tick < 10 * ${SER_KILL_WAIT:-30}; tick++)); do
      kill -0 -- "-$pid" || continue 2
      sleep 0.1
    done
    kill -KILL -- "-$pid" || true
  done
  exit "$1"
}
trap 'stop 129' HUP
trap 'stop 130' INT
trap 'stop 143' TERM

pids=()
running() { jobs -pr | wc -l; }

for ((number = first; number <= last; number++)); do
  words=("$@")
  [[ -z $name ]] || words=("${@//$name/$number}")
  mkdir -p -- "$(dirname -- "${words[0]}")" || fail "$(dirname -- "${words[0]}"): this log folder cannot be made"
  while [[ $(running) -ge $max_jobs_run ]]; do
    wait -n || true
  done
  set -m # for a process group of its own
  run_job "$number" "${words[@]}" &
  set +m
  pids[number]=$!
done

failed=()
for number in "${!pids[@]}"; do
  wait "${pids[number]}" || true
  [[ -e $verdicts/$number && $(<"$verdicts/$number") == 0 ]] || failed+=("$number")
done
[[ ${#failed[@]} -gt 0 ]] || exit 0

log=$1
[[ -z $name ]] || log=${1//$name/${failed[0]}}
printf 'run.sh: %d of %d jobs failed; the first log: %s\n' "${#failed[@]}" "${#pids[@]}" "$log" >&2
grep '^error:' -- "$log" >&2 || grep -v -E '^# (command|host|started|ended) ' -- "$log" | tail -n 5 >&2 || true
exit 1
