#!/usr/bin/env bash
# IEMOCAP and RAVDESS together.
#   IEMOCAP=... RAVDESS=... egs/iemocap_ravdess/run.sh
set -euo pipefail
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

exec "$recipe/../../run.sh" --recipe "$recipe" --corpora iemocap,ravdess --preset strict "$@"
