#!/usr/bin/env bash
# IEMOCAP, RAVDESS and CustomerPTBR together.
#   IEMOCAP=... RAVDESS=... CUSTOMER_PTBR=... egs/iemocap_ravdess_customer_ptbr/run.sh
set -euo pipefail
recipe=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

exec "$recipe/../../run.sh" --recipe "$recipe" --corpora iemocap,ravdess,customer_ptbr --preset strict "$@"
