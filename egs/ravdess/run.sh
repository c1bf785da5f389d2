#!/usr/bin/env bash
# RAVDESS alone: 672 utterances of 24 actors in four classes, six folds without speaker overlap.
#   RAVDESS=/corpora/ravdess egs/ravdess/run.sh
set -euo pipefail
recipe=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

exec "$recipe/../../run.sh" --recipe "$recipe" --corpora ravdess --preset strict "$@"
