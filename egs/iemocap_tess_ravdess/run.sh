#!/usr/bin/env bash
# IEMOCAP, TESS and RAVDESS together; TESS is never tested.
#   IEMOCAP=... TESS=... RAVDESS=... egs/iemocap_tess_ravdess/run.sh
set -euo pipefail
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

exec "$recipe/../../run.sh" --recipe "$recipe" --corpora iemocap,tess,ravdess --preset strict "$@"
