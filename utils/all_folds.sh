# shellcheck shell=bash
# shellcheck disable=SC2154 # run.sh, which sources it, sets all of these
# run.sh for each fold in turn, then its table, and the one over all of them: UA with its interval over speakers.

arguments=()
for ((i = 0; i < ${#given[@]}; i++)); do
  case ${given[i]} in
    --folds) ((++i)) ;;
    --folds=*) ;;
    *) arguments+=("${given[i]}") ;;
  esac
done
run_fold() { # <fold>: all stages but the table, or what of them is asked for
  local last=$((stop_stage < 6 ? stop_stage : 6))
  ((stage > last)) || launch "$SER_ROOT/run.sh" "${arguments[@]}" --fold "$1" --stop-stage "$last"
}
((stage > 6 || stop_stage < 7)) || log "folds in turn; the table of those that are done, at any time: the same command with --stage 7"
read -r first _ <<< "$folds"
if [[ $folds == all ]]; then
  first=1
  run_fold 1 # which prepares the corpora, so that their folds are known
  count_folds() {
    python "$SER_ROOT/steps/configure.py" --verbose "$verbose" --preset "$preset" --recipe "$recipe" \
      --count-folds "$data" "$exp" "corpora=[$corpora]" "${config_options[@]#--}" ${split:+"split=$split"}
  }
  if [[ $dry_run == true ]]; then
    number=$(count_folds 2> /dev/null) || { log "how many folds there are is known after stage 1"; exit 0; }
  else
    number=$(count_folds)
  fi
  folds=$(seq -s " " 2 "$number")
else # a fold that no corpus has is refused before the first one runs
  python "$SER_ROOT/steps/configure.py" --preset "$preset" --recipe "$recipe" --plan "$data" "$dump" "$exp" "corpora=[$corpora]" \
    "${config_options[@]#--}" ${split:+"split=$split"} "fold=$(tr ' ' '\n' <<< "$folds" | sort -n | tail -n 1)" > /dev/null
fi
for fold in $folds; do
  run_fold "$fold"
done
if wanted 7 && [[ $dry_run != true && -z $search ]]; then
  launch "$SER_ROOT/run.sh" "${arguments[@]}" --fold "$first" --stage 7
  log "all folds together"
  python "$SER_ROOT/steps/pool.py" --verbose "$verbose" "$exp"
fi
