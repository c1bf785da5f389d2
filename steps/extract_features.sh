#!/usr/bin/env bash
# Features of a prepared corpus, or of its training utterances and their copies, in parallel jobs.
set -euo pipefail

nj=4       # number of jobs
cmd=run.sh # launcher, and its options
verbose=false

help() {
  cat <<HELP
Usage: steps/extract_features.sh [options] <config> <data-dir> <dump-dir>
  e.g. steps/extract_features.sh --nj 4 exp/ravdess/multi_blstm_mu/fold1_seed0/config.yaml data/ravdess dump
Options: --nj <number of jobs> ($nj), --cmd <launcher and its options> ($cmd), --verbose true|false ($verbose)
<data-dir> is data/<corpus> of stage 1, or a train_<digest> folder of stage 2.
Writes <dump-dir>/<corpus>/archives/<settings>/feats.*.ark, which every recipe and every fold shares; which of these a
data dir has into <dump-dir>/<corpus>/<key>/{feats.scp,utt2num_frames,cuts.jsonl.gz}; and feats.scp into every data dir
below <data-dir>, or into <data-dir>.
HELP
}

. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../path.sh"
. "$SER_ROOT/utils/parse_options.sh"

[[ $# -eq 3 ]] || { help >&2; exit 1; }
for file in "$1" "$2/cuts.jsonl.gz"; do
  [[ -f $file ]] || { echo "error: $file: no such file; run the stages before this one" >&2; exit 1; }
done

for word in "$@"; do
  [[ $word != *JOB* ]] || { echo "error: $word: a path with JOB in it, which launchers replace; rename it" >&2; exit 1; }
done

set -- --verbose "$verbose" "$@"
folder=$(python "$SER_ROOT/steps/extract_features.py" "$@")
if [[ ! -f $folder/info.json ]]; then
  logs=$(realpath -ms --relative-to=. "$folder")/log # relative, for Kaldi's run.pl fails on a log path with spaces
  # shellcheck disable=SC2086
  $cmd JOB=1:"$nj" "$logs/extract_features.JOB.log" \
    python "$SER_ROOT/steps/extract_features.py" --job JOB --nj "$nj" "$@"
fi
python "$SER_ROOT/steps/extract_features.py" --finish true "$@"
