#!/usr/bin/env bash
# emoUERJ: Brazilian Portuguese, eight speakers; the public stand-in for CustomerPTBR.
#   EMOUERJ=/corpora/emouerj egs/emouerj/run.sh
set -euo pipefail
recipe=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

exec "$recipe/../../run.sh" --recipe "$recipe" --corpora emouerj --preset strict "$@"
