#!/usr/bin/env bash
# URDU: Urdu, 29 speakers, most of them in one emotion only, so that presets with speaker statistics stop; give
# --preset strong_global or pretrained_global.
#   URDU=/corpora/urdu egs/urdu/run.sh
set -euo pipefail
recipe=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

exec "$recipe/../../run.sh" --recipe "$recipe" --corpora urdu --preset strict "$@"
