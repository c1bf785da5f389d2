#!/usr/bin/env bash
# CustomerPTBR alone: call-centre calls in Brazilian Portuguese, private; your own calls take their place.
#   CUSTOMER_PTBR=/corpora/calls egs/customer_ptbr/run.sh
set -euo pipefail
recipe=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

exec "$recipe/../../run.sh" --recipe "$recipe" --corpora customer_ptbr --preset strict "$@"
