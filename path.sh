# shellcheck shell=bash
# Source this first in every script: . path.sh, or . "$(dirname "$0")/../../path.sh". Finds the root, whatever the working
# directory, and offers
#   ser_environment [mini] [dev] ... enters the Python environment, after making what is missing of it
# which is SER_ENV (a virtual environment or conda prefix of your own, used as it is) or else .venv in the root.

((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 404)) || { echo "error: bash 4.4 or newer is needed, this is $BASH_VERSION" >&2; exit 1; }

SER_ROOT=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
[[ $SER_ROOT != *$'\n'* ]] || { printf 'error: %q: a line break in the path of the project. Rename that folder\n' "$SER_ROOT" >&2; exit 1; }
export SER_ROOT LC_ALL=C PYTHONUTF8=1
[[ ${PYTHONPATH:-} == "$SER_ROOT"?(:*) ]] || export PYTHONPATH=$SER_ROOT${PYTHONPATH:+:$PYTHONPATH}
[[ :$PATH: == *":$SER_ROOT/utils:"* ]] || export PATH=$SER_ROOT/utils:$PATH

ser_environment() {
  local extra known environment=${SER_ENV:-$SER_ROOT/.venv}
  known=$(sed -n '/^\[project.optional-dependencies\]/,/^\[tool/s/^\([a-z-]*\) = \[.*/\1/p' "$SER_ROOT/pyproject.toml")
  for extra in "$@"; do
    [[ $'\n'$known$'\n' == *$'\n'"$extra"$'\n'* ]] ||
      _ser_error "ser_environment: no extra named $extra (${known//$'\n'/, })" || return 1
  done
  if [[ -n ${SER_ENV:-} ]]; then
    _ser_check_own "$@" || return 1
  else
    _ser_complete "$@" || _ser_install "$@" || return
  fi
  unset PYTHONHOME
  [[ $PATH == "$environment/bin:"* ]] || export PATH=$environment/bin:$PATH
}

_ser_error() {
  printf 'error: %s\n' "$*" >&2
  return 1
}

# Is SER_ENV fit? Looks for the packages and their versions without importing them.
_ser_check_own() {
  local missing python=$SER_ENV/bin/python
  local fix="give an environment of Python 3.11 or newer, or unset SER_ENV and .venv is made for you"
  [[ $SER_ENV == /* ]] || _ser_error "SER_ENV=$SER_ENV: not a full path (it must begin with /)" || return 1
  [[ -x $python ]] || _ser_error "SER_ENV=$SER_ENV: holds no bin/python; $fix" || return 1
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    _ser_error "SER_ENV=$SER_ENV: its Python does not start or is older than 3.11; $fix" || return 1
  missing=$("$python" -P - "$SER_ROOT/pyproject.toml" "$@" <<'PYTHON'
import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version

with open(sys.argv[1], "rb") as file:
    project = tomllib.load(file)["project"]


def numbers(release):
    match = re.match(r"v?(\d+(\.\d+)*)", release or "")
    return [int(number) for number in match[1].split(".")] if match else []


def unfit(requirements):
    for requirement in requirements:
        name, extras = re.match(r"([\w.-]+)(?:\[(.*)\])?", requirement).groups()
        if name == project["name"]:
            for extra in extras.split(","):
                yield from unfit(project["optional-dependencies"][extra])
            continue
        try:
            found = version(name)
        except PackageNotFoundError:
            yield name
            continue
        for operator, bound in re.findall(r"(>=|<)([\d.]+)", requirement):
            if (numbers(found) >= numbers(bound)) != (operator == ">="):
                yield f"{name}{operator}{bound} (it has {found})"


wanted = [*project["dependencies"], f"{project['name']}[{','.join(['train', *sys.argv[2:]])}]"]
print(", ".join(dict.fromkeys(unfit(wanted))))
PYTHON
  ) || _ser_error "SER_ENV=$SER_ENV: its packages cannot be listed (see above)" || return 1
  [[ -z $missing ]] || _ser_error "SER_ENV=$SER_ENV: lacks $missing; fix: '$python' -m pip install" \
    "-c '$SER_ROOT/constraints.txt' '$SER_ROOT$(_ser_extras "$@")', or unset SER_ENV" || return 1
}

_ser_extras() { # mini dev -> [train,mini,dev]
  local IFS=,
  set -- train "$@"
  printf '[%s]' "$*"
}

# Does .venv hold the core and the extras asked for, as pyproject.toml and constraints.txt now want them?
_ser_complete() {
  local part marker sum
  [[ -x $SER_ROOT/.venv/bin/python ]] || return 1
  sum=$(_ser_checksum) || return 1
  for part in core "$@"; do
    marker=$SER_ROOT/.venv/.installed-$part
    [[ -f $marker && $(<"$marker") == "$sum" ]] || return 1
  done
}

_ser_checksum() { { sed '/^\[tool\./,$d' "$SER_ROOT/pyproject.toml" && cat "$SER_ROOT/constraints.txt"; } | cksum; }

# Makes .venv, or goes on where an earlier call was stopped. A subshell: its lock ends with it, and no option leaks out.
_ser_install() (
  set +e -o pipefail
  trap 'printf "\npath.sh: stopped; the next call goes on from here\n" >&2; exit 130' INT
  trap 'exit 143' TERM
  local part sum venv=$SER_ROOT/.venv log=$SER_ROOT/.venv/install.log
  exec 9>>"$SER_ROOT/.venv.lock" || _ser_error "$SER_ROOT: cannot be written; set SER_ENV" || exit 1
  if command -v flock >/dev/null && ! flock -n 9; then
    echo "path.sh: .venv is being installed by another process; waiting for it" >&2
    flock 9
  fi
  ! _ser_complete "$@" || exit 0
  sum=$(_ser_checksum)
  unset PYTHONHOME PYTHONPATH PIP_USER PIP_TARGET PIP_PREFIX
  export PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONSAFEPATH=1

  echo "path.sh: installing Python packages into $venv (once; stopped and started again, it goes on)" >&2
  if [[ -e $venv/.installed-core ]]; then
    echo "path.sh: only what is new: ${*:-core}" >&2
  elif _ser_has_nvidia; then
    echo "path.sh: NVIDIA driver found: torch with CUDA, several GB to download and on disk" >&2
  else
    echo "path.sh: no NVIDIA driver: torch for the CPU, about 300 MB to download, 1.5 GB on disk" >&2
  fi
  if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    _ser_make_venv "$venv" || exit 1
  fi
  echo "path.sh: pip's messages go to $log" >&2
  if ! _ser_has_nvidia && _ser_cpu_wheels "$venv/bin/python"; then
    # without its dependencies: that index holds other versions of them than constraints.txt names
    _ser_pip "$venv" --no-deps --index-url https://download.pytorch.org/whl/cpu torch ||
      echo "path.sh: no torch from PyTorch's index of CPU wheels; taking the default index" >&2
  fi
  _ser_pip "$venv" -e "$SER_ROOT$(_ser_extras "$@")" || {
    tail -n 8 "$log" >&2
    _ser_error "packages could not be installed; the log: $log. Call again to go on, or set SER_ENV" || exit 1
  }
  for part in core "$@"; do
    printf '%s\n' "$sum" >"$venv/.installed-$part"
  done
  echo "path.sh: installed" >&2
)

_ser_has_nvidia() { command -v nvidia-smi >/dev/null || [[ -e /proc/driver/nvidia/version ]]; }

# Asked once, so that a machine without a way out does not wait for pip's own retries.
_ser_cpu_wheels() {
  "$1" - 2>/dev/null <<'PYTHON'
import urllib.request

request = urllib.request.Request("https://download.pytorch.org/whl/cpu/torch/", method="HEAD")
urllib.request.urlopen(request, timeout=5).close()
PYTHON
}

_ser_make_venv() {
  local python messages found=""
  for python in python3 python3.14 python3.13 python3.12 python3.11; do
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
    found=$python
    "$python" -c 'import ensurepip, venv' 2>/dev/null || continue
    "$1/bin/python" -c '' 2>/dev/null || rm -f "$1"/bin/python* # left by a Python that is no more
    messages=$("$python" -m venv "$1" 2>&1) || _ser_error "$python -m venv $1: ${messages##*$'\n'}; fix: remove" \
      "that folder and call again, or set SER_ENV to an environment of your own"
    return
  done
  [[ -z $found ]] || _ser_error "$found has no ensurepip, so it makes no virtual environment; fix: install your" \
    "distribution's package python3-venv, or set SER_ENV to an environment of your own" || return 1
  _ser_error "no Python 3.11 or newer (tried python3, python3.14 to python3.11); fix: install one, or set SER_ENV"
}

_ser_pip() { # <venv> <arguments of pip install>
  local venv=$1
  shift
  "$venv/bin/python" -m pip install --no-user -c "$SER_ROOT/constraints.txt" "$@" 2>&1 |
    tee -a "$venv/install.log" | _ser_progress
}

# What pip is at, with the seconds since it began: one moving line on a terminal, else a line each half minute.
_ser_progress() {
  local line doing="starting" status start=$SECONDS last=0
  while true; do
    status=0
    read -r -t 1 line || status=$?
    ((status == 0 || status > 128)) || break
    [[ $status -ne 0 || $line != @(Collecting|Downloading|Installing|Building|Using)* ]] || doing=${line%%:*}
    if [[ -t 2 ]]; then
      printf '\r\033[K%4d s  %.70s' "$((SECONDS - start))" "$doing" >&2
    elif ((SECONDS - start >= last + 30)); then
      last=$((SECONDS - start))
      printf 'path.sh: %d s: %.90s\n' "$last" "$doing" >&2
    fi
  done
  [[ ! -t 2 ]] || printf '\r\033[K' >&2
}
