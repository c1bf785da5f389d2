#!/usr/bin/env bash
# IEMOCAP and CustomerPTBR together.
#   IEMOCAP=... CUSTOMER_PTBR=... egs/iemocap_customer_ptbr/run.sh
set -euo pipefail
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

exec "$recipe/../../run.sh" --recipe "$recipe" --corpora iemocap,customer_ptbr --preset strict "$@"
