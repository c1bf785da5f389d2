#!/usr/bin/env bash
# IEMOCAP and TESS together; TESS is never tested.
#   IEMOCAP=... TESS=... egs/iemocap_tess/run.sh
set -euo pipefail
recipe=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

exec "$recipe/../../run.sh" --recipe "$recipe" --corpora iemocap,tess --preset strict "$@"
