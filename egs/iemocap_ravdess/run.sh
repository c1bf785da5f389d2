#!/usr/bin/env bash
# IEMOCAP and RAVDESS together.
#   IEMOCAP=... RAVDESS=... egs/iemocap_ravdess/run.sh
set -euo pipefail
recipe=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

exec "$recipe/../../run.sh" --recipe "$recipe" --corpora iemocap,ravdess --preset strict "$@"
