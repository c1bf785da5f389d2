#!/usr/bin/env bash
# Runs jobs on Grid Engine, with the interface of Kaldi's queue.pl. Written to be used as $train_cmd or $cpu_cmd (cmd.sh).
exec python3 -E -s "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/launch" queue.sh "$@"
