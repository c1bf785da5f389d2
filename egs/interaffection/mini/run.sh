#!/usr/bin/env bash
# The whole grid, of 168 cells, on stand-ins for the paper's four corpora, which stage 0 makes: minutes on two cores.
# Synthetic speech measures nothing about people: the figures only show that everything works.
set -euo pipefail
recipe=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
made=$recipe/downloads
export IEMOCAP=$made/iemocap TESS=$made/tess RAVDESS=$made/ravdess CUSTOMER_PTBR=$made/customer_ptbr

exec "$recipe/../../../steps/grid.sh" --recipe "$recipe" --grid paper --preset mini --folds 1 --extras mini "$@"
