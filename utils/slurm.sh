#!/usr/bin/env bash
# Runs jobs on a Slurm cluster, with the interface of Kaldi's slurm.pl. Written to be used as $train_cmd or $cpu_cmd (cmd.sh).
exec python3 -E -s "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/launch" slurm.sh "$@"
