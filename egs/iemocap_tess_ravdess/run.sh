#!/usr/bin/env bash
# IEMOCAP, TESS and RAVDESS together; TESS is never tested.
#   IEMOCAP=... TESS=... RAVDESS=... egs/iemocap_tess_ravdess/run.sh
set -euo pipefail
recipe=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

exec "$recipe/../../run.sh" --recipe "$recipe" --corpora iemocap,tess,ravdess --preset strict "$@"
