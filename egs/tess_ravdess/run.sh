#!/usr/bin/env bash
# TESS and RAVDESS together; TESS is never tested.
#   TESS=... RAVDESS=... egs/tess_ravdess/run.sh
set -euo pipefail
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

exec "$recipe/../../run.sh" --recipe "$recipe" --corpora tess,ravdess --preset strict "$@"
