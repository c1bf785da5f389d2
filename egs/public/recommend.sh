#!/usr/bin/env bash
# The recommended model: five seeds on TESS, RAVDESS, EmoDB and nEMO, packed as one model (models/public). Its card shows UA
# on corpora that models of the same settings have not seen.
#   TESS=... RAVDESS=... EMODB=... NEMO=... URDU=... egs/public/recommend.sh --nj 2
set -euo pipefail
recipe=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
. "$recipe/../../path.sh"
cd "$recipe"
[[ ${1-} != --help ]] || exec ./run.sh --help

corpora=tess_ravdess_emodb_nemo
./run.sh --preset pretrained --grid recommended_loo --tables recommended "$@"
# Without --kept: weights are needed, which results/ does not hold.
./run.sh --preset pretrained --grid recommended --folds 1 --seeds "0 1 2 3 4" --stop-stage 6 "$@" --kept ""
found=$(find exp -path 'exp/pretrained_*/recommended/findings/findings.json' -printf '%T@ %p\n' | sort -n | tail -1 | cut -d ' ' -f 2-)
ser_environment pretrained
python -m ser pack "${found%/recommended/*}/$corpora"/unified_none_statistics/fold1_seed[0-4] models/public \
  --recipe . --findings "$found"
