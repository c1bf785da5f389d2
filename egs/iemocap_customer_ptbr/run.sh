#!/usr/bin/env bash
# IEMOCAP and CustomerPTBR together.
#   IEMOCAP=... CUSTOMER_PTBR=... egs/iemocap_customer_ptbr/run.sh
set -euo pipefail
recipe=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

exec "$recipe/../../run.sh" --recipe "$recipe" --corpora iemocap,customer_ptbr --preset strict "$@"
