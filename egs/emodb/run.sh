#!/usr/bin/env bash
# EmoDB: German, ten speakers.
#   EMODB=/corpora/emodb egs/emodb/run.sh
set -euo pipefail
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

exec "$recipe/../../run.sh" --recipe "$recipe" --corpora emodb --preset strict "$@"
