#!/usr/bin/env bash
# IEMOCAP, TESS and CustomerPTBR together; TESS is never tested.
#   IEMOCAP=... TESS=... CUSTOMER_PTBR=... egs/iemocap_tess_customer_ptbr/run.sh
set -euo pipefail
recipe=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

exec "$recipe/../../run.sh" --recipe "$recipe" --corpora iemocap,tess,customer_ptbr --preset strict "$@"
