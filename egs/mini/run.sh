#!/usr/bin/env bash
# Two corpora of synthetic speech, made by stage 0, so that every path runs on any machine in minutes.
# Synthetic speech measures nothing about people: the figures only show that everything works.
set -euo pipefail
recipe=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
export MINI_EN=${MINI_EN:-$recipe/downloads/mini_en} MINI_PT=${MINI_PT:-$recipe/downloads/mini_pt}

exec "$recipe/../../run.sh" --recipe "$recipe" --corpora mini_en,mini_pt --preset mini --extras mini "$@"
