#!/usr/bin/env bash
# TESS and RAVDESS together; TESS is never tested.
#   TESS=... RAVDESS=... egs/tess_ravdess/run.sh
set -euo pipefail
recipe=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

exec "$recipe/../../run.sh" --recipe "$recipe" --corpora tess,ravdess --preset strict "$@"
