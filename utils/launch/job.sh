#!/usr/bin/env bash
# Runs one job where a launcher put it: on this machine, or on a node of a cluster, which needs bash 4.4 and no Python.
#   job.sh <folder> <index> [<signal that reaches this shell alone>]
#   <folder>/job             words, each with a NUL behind it: working folder, threads, variable, log, command, arguments
#   <folder>/numbers         line <index>: what replaces the variable in log and arguments
#   <folder>/status.<index>  exit code and signal, written last and renamed into place
#   <folder>/output.<index>  what went wrong before the log was open
set -uo pipefail

folder=$1 index=$2 alone=${3-}
exec </dev/null >>"$folder/output.$index" 2>&1 || exit 1
mapfile -d '' -t words <"$folder/job" || exit 1
mapfile -t numbers <"$folder/numbers" || exit 1
number=${numbers[index - 1]} name=${words[2]}
cd -- "${words[0]}" || exit 1
[[ -z ${words[1]} ]] || export OMP_NUM_THREADS=${words[1]}
words=("${words[@]:3}")
[[ -z $name ]] || words=("${words[@]//"$name"/"$number"}")
log=${words[0]} words=("${words[@]:1}")
exec >>"$log" 2>&1 || exit 1

sent=""
# What the process group gets, the command gets too. What comes to this shell alone is handed on: Slurm's USR1, a warning
# before the end, and Grid Engine's USR2, the end, which is TERM elsewhere.
# shellcheck disable=SC2329 # the traps call it
note() { # <signal>
  sent=$1
  [[ $1 == "$alone" && -n ${!-} ]] || return 0
  until [[ -s $folder/pid.$index || -e $folder/code.$index ]]; do sleep 0.05; done
  kill "-${1/USR2/TERM}" "$(<"$folder/pid.$index")" 2>/dev/null
}
for signal in HUP INT TERM USR1 USR2; do
  # shellcheck disable=SC2064 # now, not when it comes
  trap "note $signal" "$signal"
done

SECONDS=0
printf '# command'
printf ' %q' "${words[@]}"
printf '\n# host %s\n# started %s\n' "$(uname -n)" "$(date '+%F %T %z')"
{ # waits in the foreground, where a signal does not make bash forget an exit code
  trap : HUP INT TERM USR1 USR2
  (
    echo "$BASHPID" >"$folder/pid.$index"
    trap '' USR1 USR2 # a warning is no end for a command that does not care for it
    exec "${words[@]}"
  )
  echo "$?" >"$folder/code.$index"
} &
[[ -z $sent ]] || note "$sent"
while true; do # until no signal ends the wait
  before=$sent sent=""
  wait
  [[ -n $sent ]] || break
done
code=$(<"$folder/code.$index") && [[ -n $code ]] || exit 1 # empty on a full disk
sent=$before
[[ -z $(tail -c 1 -- "$log") ]] || echo
printf '# ended %s, %d s, exit code %d\n' "$(date '+%F %T %z')" "$SECONDS" "$code"
exec >/dev/null 2>&1

printf '%s %s\n' "$code" "$sent" >"$folder/status.$index.new" || exit 1
mv -- "$folder/status.$index.new" "$folder/status.$index" || exit 1
exit $((code != 0)) # Grid Engine takes 99 and 100 for orders
