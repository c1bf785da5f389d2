#!/usr/bin/env bash
# EmoDB: German, ten speakers.
#   EMODB=/corpora/emodb egs/emodb/run.sh
set -euo pipefail
recipe=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

exec "$recipe/../../run.sh" --recipe "$recipe" --corpora emodb --preset strict "$@"
