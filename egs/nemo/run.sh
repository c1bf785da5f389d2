#!/usr/bin/env bash
# nEMO: Polish, nine speakers.
#   NEMO=/corpora/nemo egs/nemo/run.sh
set -euo pipefail
recipe=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

exec "$recipe/../../run.sh" --recipe "$recipe" --corpora nemo --preset strict "$@"
