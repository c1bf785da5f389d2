#!/usr/bin/env bash
# IEMOCAP and TESS together; TESS is never tested.
#   IEMOCAP=... TESS=... egs/iemocap_tess/run.sh
set -euo pipefail
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

exec "$recipe/../../run.sh" --recipe "$recipe" --corpora iemocap,tess --preset strict "$@"
