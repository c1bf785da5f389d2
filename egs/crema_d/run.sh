#!/usr/bin/env bash
# CREMA-D: English, 91 speakers.
#   CREMA_D=/corpora/crema_d egs/crema_d/run.sh
set -euo pipefail
recipe=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

exec "$recipe/../../run.sh" --recipe "$recipe" --corpora crema_d --preset strict "$@"
