#!/usr/bin/env bash
# TESS and CustomerPTBR together; TESS is never tested.
#   TESS=... CUSTOMER_PTBR=... egs/tess_customer_ptbr/run.sh
set -euo pipefail
recipe=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

exec "$recipe/../../run.sh" --recipe "$recipe" --corpora tess,customer_ptbr --preset strict "$@"
