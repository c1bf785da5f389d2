#!/usr/bin/env bash
# The paper's grid: 14 combinations of IEMOCAP, TESS, RAVDESS and CustomerPTBR x 2 tasks x 3 temporal blocks x 2 poolings.
#   IEMOCAP=... TESS=... RAVDESS=... CUSTOMER_PTBR=... egs/interaffection/run.sh --seeds "0 1 2 3 4"
#   TESS=... RAVDESS=... egs/interaffection/run.sh --only tess,ravdess --preset strong     # 24 of the 168 cells
set -euo pipefail
recipe=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

exec "$recipe/../../steps/grid.sh" --recipe "$recipe" --grid paper --preset strict "$@"
