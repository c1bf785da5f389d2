#!/usr/bin/env bash
# The tests that are not slow, with the oldest versions of packages that pyproject.toml allows (torch as in
# constraints.txt, for its packages are large): tests/oldest.sh <folder of a new environment> [arguments of pytest]
set -euo pipefail

[[ $# -gt 0 ]] || { sed -n '2,3s/^# //p' "${BASH_SOURCE[0]}" && exit 1; }
root=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")") environment=$1
shift
python3 -m venv "$environment"
{
  sed -nE '/"(torch|setuptools)>/!s/.*"([A-Za-z0-9_-]+)>=([0-9.]+).*/\1==\2/p' "$root/pyproject.toml"
  grep -E '^torch==' "$root/constraints.txt"
} > "$environment/oldest.txt"
"$environment/bin/python" -m pip install --quiet --constraint "$environment/oldest.txt" "${root}[train,mini,dev]"
cd "$root" && PATH=$environment/bin:$PATH SER_ENV=$environment PYTHONPATH=$root python -m pytest -m "not slow" "$@"
