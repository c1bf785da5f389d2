#!/usr/bin/env bash
# IEMOCAP alone: ten speakers in five sessions, five folds by session.
#   IEMOCAP=/corpora/iemocap egs/iemocap/run.sh
set -euo pipefail
recipe=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

exec "$recipe/../../run.sh" --recipe "$recipe" --corpora iemocap --preset strict "$@"
