#!/usr/bin/env bash
# RAVDESS and CustomerPTBR together.
#   RAVDESS=... CUSTOMER_PTBR=... egs/ravdess_customer_ptbr/run.sh
set -euo pipefail
recipe=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

exec "$recipe/../../run.sh" --recipe "$recipe" --corpora ravdess,customer_ptbr --preset strict "$@"
