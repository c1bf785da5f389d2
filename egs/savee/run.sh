#!/usr/bin/env bash
# SAVEE: English, four men.
#   SAVEE=/corpora/savee egs/savee/run.sh
set -euo pipefail
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

exec "$recipe/../../run.sh" --recipe "$recipe" --corpora savee --preset strict "$@"
