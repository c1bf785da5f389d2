#!/usr/bin/env bash
# TESS, RAVDESS and CustomerPTBR together; TESS is never tested.
#   TESS=... RAVDESS=... CUSTOMER_PTBR=... egs/tess_ravdess_customer_ptbr/run.sh
set -euo pipefail
recipe=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

exec "$recipe/../../run.sh" --recipe "$recipe" --corpora tess,ravdess,customer_ptbr --preset strict "$@"
