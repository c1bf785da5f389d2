#!/usr/bin/env bash
# IEMOCAP, TESS, RAVDESS and CustomerPTBR together; TESS is never tested.
#   IEMOCAP=... TESS=... RAVDESS=... CUSTOMER_PTBR=... egs/iemocap_tess_ravdess_customer_ptbr/run.sh
set -euo pipefail
recipe=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

exec "$recipe/../../run.sh" --recipe "$recipe" --corpora iemocap,tess,ravdess,customer_ptbr --preset strict "$@"
