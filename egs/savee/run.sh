#!/usr/bin/env bash
# SAVEE: English, four men.
#   SAVEE=/corpora/savee egs/savee/run.sh
set -euo pipefail
recipe=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

exec "$recipe/../../run.sh" --recipe "$recipe" --corpora savee --preset strict "$@"
