#!/usr/bin/env bash
# Log-STFT features of a prepared corpus, in parallel jobs.
set -euo pipefail

nj=4       # number of jobs
cmd=run.sh # launcher, and its options

help() {
  cat <<HELP
Usage: steps/make_stft.sh [options] <config> <data-dir> <dump-dir>
  e.g. steps/make_stft.sh --nj 4 exp/ravdess/multi_blstm_mu/fold1_seed0/config.yaml data/ravdess dump
Options: --nj <number of jobs> ($nj), --cmd <launcher and its options> ($cmd)
Writes <dump-dir>/<corpus>/<key>/feats.{ark,scp}, utt2num_frames and cuts, and feats.scp into every data dir below <data-dir>.
HELP
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/path.sh"
. "$root/utils/parse_options.sh"

[[ $# -eq 3 ]] || { help >&2; exit 1; }
for file in "$1" "$2/cuts.jsonl.gz"; do
  [[ -f $file ]] || { echo "error: $file: no such file; run the stages before this one" >&2; exit 1; }
done

folder=$(python "$root/steps/make_stft.py" "$@")
if [[ ! -f $folder/info.json ]]; then
  # shellcheck disable=SC2086
  $cmd JOB=1:"$nj" "$folder/log/make_stft.JOB.log" \
    python "$root/steps/make_stft.py" --job JOB --nj "$nj" "$@"
fi
python "$root/steps/make_stft.py" --finish true "$@"
