#!/usr/bin/env bash
# Every check of this repository: ./tests/run.sh [--fast] [--lint-only] [arguments of pytest]
#   --fast        leaves out the tests marked slow, and runs the others on up to four cores
#   --lint-only   no tests
# All checks run, also after one failed; the last line names those that failed.
set -euo pipefail

root=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
# shellcheck source=path.sh
. "$root/path.sh"

selection=() lint_only=false
while [[ ${1-} == --fast || ${1-} == --lint-only || ${1-} == --help ]]; do
  case $1 in
    --fast) selection=(-m "not slow" -n logical --maxprocesses 4 --dist loadfile) ;;
    --lint-only) lint_only=true ;;
    --help) sed -n '2,5s/^# //p' "${BASH_SOURCE[0]}" && exit 0 ;;
  esac
  shift
done

ser_environment mini dev

failed=()
check() { # <name> <command> [arguments]
  printf '\n== %s\n' "$1"
  (cd "$root" && "${@:2}") || failed+=("$1")
}

# Takes files that git does not know yet as well, but none that it ignores.
shellcheck_all() {
  local files
  mapfile -t files < <(git ls-files --cached --others --exclude-standard -- '*.sh' .ci/run)
  [[ ${#files[@]} -gt 0 ]] || { echo "error: git lists no shell script here" >&2 && return 1; }
  shellcheck --external-sources --source-path=SCRIPTDIR --source-path="$root" -- "${files[@]}"
}

# A warning is an error: a link that leads nowhere, a page that no menu has. (With --quiet none would be seen.)
documentation() {
  local status=0 site
  site=$(mktemp -d)
  NO_MKDOCS_2_WARNING=1 timeout 300 python -m mkdocs build --strict --site-dir "$site" || status=$?
  rm -r "$site"
  return "$status"
}

check "ruff check" python -m ruff check .
check "ruff format" python -m ruff format --check .
check mypy python -m mypy
# not the script lint-imports: it names its Python by full path, which a moved .venv does not have
check "import-linter" python -c 'from importlinter.cli import lint_imports_command; lint_imports_command()'
check shellcheck shellcheck_all
check hadolint hadolint Dockerfile
check documentation documentation
[[ $lint_only == true ]] || check pytest python -m pytest ${selection[@]+"${selection[@]}"} "$@"

echo
if [[ ${#failed[@]} -gt 0 ]]; then
  printf -v list '%s, ' "${failed[@]}"
  echo "failed: ${list%, }"
  exit 1
fi
echo "all checks passed"
