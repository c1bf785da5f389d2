# shellcheck shell=bash
# Sourced by a script after it has given every option a default: . utils/parse_options.sh
#
#   --some-name value, --some-name=value    sets the variable some_name, which the script must have defined before
#   --part.key value, --part.key=value      goes as --part.key=value into the array config_options, if the script has one
#   --help                                  prints $help_message, or calls the function help, and exits 0
#   -- or the first word without --         ends the options; what follows stays in "$@"
#
# An option without a variable is an error, and so is an option without a value, and a variable whose default is true or
# false takes only these. Names are lower case, so no option reaches PATH and its like.

_po_fail() {
  local _po_name=$0
  [[ $0 != */../* ]] || _po_name=$(realpath -ms -- "$0") # a recipe calls run.sh through ../..
  printf 'error: %s: %s; --help lists the options\n' "$_po_name" "$1" >&2
  exit 1
}

_po_help() {
  if declare -F help >/dev/null; then
    help
  else
    printf '%s\n' "${help_message:-$0: no help text}"
  fi
  exit 0
}

# " (did you mean --stage?)": of the variables that begin with the most letters of the name, the one nearest in length.
_po_nearest() { # <name>
  local _po_length _po_known _po_word _po_best='' _po_least=99 _po_apart
  for ((_po_length = ${#1}; _po_length >= 2; _po_length--)); do
    _po_known=$(compgen -v -- "${1:0:_po_length}" | grep '^[a-z][a-z0-9_]*$') || continue
    for _po_word in $_po_known; do
      _po_apart=$((${#_po_word} - ${#1}))
      ((${_po_apart#-} < _po_least)) && _po_best=$_po_word _po_least=${_po_apart#-}
    done
    printf ' (did you mean --%s?)' "${_po_best//_/-}"
    return
  done
}

# Ends the script unless the name is one that may be set. Its form comes first: a subscript would be evaluated by bash.
_po_check() { # <option> <name>
  local _po_declared
  if [[ $2 =~ ^[a-z][a-z0-9_]*(\.[a-z0-9_]+)+$ ]]; then
    _po_declared=$(declare -p config_options 2>/dev/null) || true
    [[ $_po_declared == "declare -a"* ]] || _po_fail "unknown option $1"
  else
    [[ $2 =~ ^[a-z][a-z0-9_]*$ ]] || _po_fail "unknown option $1"
    _po_declared=$(declare -p "$2" 2>/dev/null) || _po_fail "unknown option $1$(_po_nearest "$2")"
    [[ ! $_po_declared =~ ^declare\ -[a-zA-Z]*[aAnr] ]] || _po_fail "option $1 cannot be set"
  fi
}

_po_set() { # <option> <name> <value>
  if [[ $2 == *.* ]]; then
    config_options+=("--$2=$3")
    return
  fi
  if [[ ${!2} == true || ${!2} == false ]]; then
    [[ $3 == true || $3 == false ]] || _po_fail "option $1 is true or false, not '$3'"
  fi
  printf -v "$2" %s "$3"
}

_po_used=0 # how many words were options

_po_parse() {
  local _po_option _po_name
  while [[ ${1-} == --* ]]; do
    _po_used=$((_po_used + 1))
    [[ $1 != -- ]] || return 0
    [[ $1 != --help ]] || _po_help
    _po_option=${1%%=*}
    _po_name=${_po_option#--}
    _po_name=${_po_name//-/_}
    _po_check "$_po_option" "$_po_name"
    if [[ $1 == *=* ]]; then
      _po_set "$_po_option" "$_po_name" "${1#*=}"
    else
      [[ $# -ge 2 && $2 != --* ]] || _po_fail "option $1 needs a value"
      _po_set "$_po_option" "$_po_name" "$2"
      _po_used=$((_po_used + 1))
      shift
    fi
    shift
  done
}

_po_parse "$@"
shift "$_po_used"
unset -f _po_fail _po_help _po_nearest _po_check _po_set _po_parse
unset _po_used
