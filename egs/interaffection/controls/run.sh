#!/usr/bin/env bash
# Controls on RAVDESS: the source corpora as they are, with labels permuted, and cut to equal hours, a half and a quarter.
#   TESS=... RAVDESS=... egs/interaffection/controls/run.sh --only tess,ravdess
#   TESS=... RAVDESS=... egs/interaffection/controls/run.sh --only tess,ravdess --grid copies --augment.copies 3
# and then, with an interval for the difference of each to the first:
#   . path.sh && ser_environment && steps/pool.py egs/interaffection/controls/exp/*/
set -euo pipefail
recipe=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

exec "$recipe/../../../steps/grid.sh" --recipe "$recipe" --grid controls --preset strong --stop-stage 6 "$@"
