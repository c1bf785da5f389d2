#!/usr/bin/env bash
# The paper's grid on corpora that anyone can get: 14 combinations of TESS, RAVDESS, EmoDB and nEMO x 2 tasks x 3 temporal
# blocks x 2 poolings, and URDU, which every model is scored on and none is trained on.
#   TESS=... RAVDESS=... EMODB=... NEMO=... URDU=... egs/public/run.sh
#   TESS=... RAVDESS=... EMODB=... NEMO=... URDU=... egs/public/run.sh --grid blstm --seeds "0 1 2 3 4" --tables blstm
# Controls and variants (README.md): --grid controls, alone, loo, poolings, each with --tables of its own.
#   egs/public/run.sh --stage 7               # all tables and the report again from results/, without corpora or training
set -euo pipefail
recipe=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

exec "$recipe/../../steps/grid.sh" --recipe "$recipe" --grid public --preset public --kept "$recipe/results" "$@"
