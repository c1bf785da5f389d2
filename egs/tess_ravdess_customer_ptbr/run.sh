#!/usr/bin/env bash
# TESS, RAVDESS and CustomerPTBR together; TESS is never tested.
#   TESS=... RAVDESS=... CUSTOMER_PTBR=... egs/tess_ravdess_customer_ptbr/run.sh
set -euo pipefail
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

exec "$recipe/../../run.sh" --recipe "$recipe" --corpora tess,ravdess,customer_ptbr --preset strict "$@"
