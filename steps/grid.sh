#!/usr/bin/env bash
# The experiments of a grid, from the corpora to the tables. A recipe declares its grid and calls this: see
# egs/interaffection/run.sh.
set -euo pipefail
{ # read whole before anything runs, so that an update of this file does no harm to a run that takes days
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../path.sh"
. "$SER_ROOT/db.sh"

only=               # available corpora, such as tess,ravdess; none: all of the grid
folds=              # such as "1 2"; none: all
seeds=0             # such as "0 1 2 3 4"
preset=strict       # conf/presets/<preset>.yaml
grid=paper          # conf/grids/<grid>.yaml: corpora, combinations and factors
nj=2                # processes of stage 1, jobs of stages 3 and 4
pack=1              # processes of each job of stages 4 to 6, which share its GPU (docs/clusters.md)
verbose=false       # log the files that each step reads and writes, and what it leaves out
list=false          # print the folder of each cell, a line a cell, and do nothing else
status=false        # print what is done, running, failed and missing, and do nothing else
stage=0             # first stage to run
stop_stage=7        # last stage to run
recipe=$PWD         # recipe folder, whose local/ and conf/ come first
data=               # prepared corpora; none: data in the recipe folder
dump=$SER_ROOT/dump # feature store, shared by all recipes
exp=                # experiments; none: exp in the recipe folder
kept=               # ledgers that are kept with the code: what they hold is done; none: no such
kept_code=same      # code that made kept runs that count: same, as this, or any
tables=             # folder, below that of the experiments, of ledger, tables and report; none: that folder
extras=             # extra packages that the recipe needs
allow_pipes=false   # run the commands in the wav.scp of a Kaldi data dir
allow_partial=false # go on with an incomplete corpus, and list what is missing
recheck=false       # in stage 1, read every audio file again, though its size and times are as before
allow_confounded=false # go on with speaker statistics where the class follows from the speaker
declare -a config_options=()

help() {
  cat <<HELP
Usage: ./run.sh [options]     train and score every cell of the grid $grid (preset $preset)

Stages (every finished one is a no-op when run again):
  0  fetch or make the corpora that may be
  1  prepare: lhotse manifests, Kaldi data dirs
  2  augment: choose the copies of training utterances, of all combinations and folds
  3  features of the front end, of utterances and copies, and their statistics
  4, 5, 6  train, decode and score what is missing, also on the corpora that a model has not seen
  7  results: ledger of all predictions, tables, what they are worth, and report/index.html with all of it

Options (default):
$(while read -r name text; do
    printf '  --%-15s %s (%s)\n' "${name//_/-}" "$text" "${!name:-none}"
  done < <(sed -n '/^only=/,/^allow_confounded=/s/^\([a-z_]*\)=[^#]*# */\1 /p' "$SER_ROOT/steps/grid.sh"))

Any key of conf/ is an option too, such as --training.patience 10: egs/ravdess/run.sh --help lists them. Experiments of
other settings lie in another folder, exp/<preset>_<digest>. Jobs of stages 4 to 6 share no fixed parts: each takes the next
experiment that is missing, so that one that is lost or started again costs nothing but its own work.
HELP
}

. "$SER_ROOT/utils/parse_options.sh"
. "$SER_ROOT/utils/recipe.sh"

check_common "$@"
[[ $pack =~ ^[1-9][0-9]*$ ]] || die "--pack $pack: a number of processes from 1"
data=$(realpath -ms "${data:-$recipe/data}") dump=$(realpath -ms "$dump") exp=$(realpath -ms "${exp:-$recipe/exp}")
kept=${kept:+$(realpath -ms "$kept")}

if [[ -z ${train_cmd:-} ]]; then # jobs side by side on this machine
  train_cmd="run.sh --max-jobs-run $nj"
  threads=$(($(nproc) / (nj * pack)))
  config_options=("--training.threads=$((threads > 1 ? threads : 1))" ${config_options[@]+"${config_options[@]}"})
fi
. "$SER_ROOT/cmd.sh"
check_commands
# shellcheck disable=SC2086
ser_environment ${extras//,/ }
# The first job of a stage shows its progress on this terminal, though its output goes to a log.
if [[ -t 2 ]]; then exec 3>&2 && export SER_TERMINAL_FD=3; fi

if [[ $allow_confounded != false ]]; then config_options+=("--batches.allow_confounded=$allow_confounded"); fi
where=(--verbose "$verbose" --grid "$grid" --preset "$preset" --only "$only" --folds "$folds" --seeds "$seeds"
  --recipe "$recipe" --data "$data" --dump "$dump" --exp "$exp" ${kept:+--kept "$kept" --kept-code "$kept_code"}
  ${config_options[@]+"${config_options[@]#--}"})
steps() { python "$SER_ROOT/steps/grid.py" "$@" "${where[@]}"; }

if [[ $list == true ]]; then steps list; exit; fi
if [[ $status == true ]]; then steps status; exit; fi
for word in "${where[@]}"; do
  [[ $word != *JOB* ]] || die "$word: a path with JOB in it, which launchers replace; rename it"
done
root=$(steps root)
cd "$recipe"
logs=$(realpath -ms --relative-to=. "$root")/log # relative, for Kaldi's run.pl fails on a log path with spaces
failed=false

if ((stage <= 1)); then
  corpora=$(steps corpora)
  while IFS=$'\t' read -r corpus variable; do
    folder=$(realpath -ms "${!variable}")
    if wanted 0; then
      log "stage 0: $corpus in $folder"
      python "$SER_ROOT/steps/prepare.py" --verbose "$verbose" --download true --recipe "$recipe" "$corpus" "$folder" "$data/$corpus"
    fi
    if wanted 1; then
      log "stage 1: prepare $corpus"
      python "$SER_ROOT/steps/prepare.py" --allow-partial "$allow_partial" --allow-pipes "$allow_pipes" \
        --verbose "$verbose" --nj "$nj" --recheck "$recheck" --recipe "$recipe" "$corpus" "$folder" "$data/$corpus"
    fi
  done <<< "$corpora"
  ! wanted 0 || steps fetch
fi

if wanted 2; then
  log "stage 2: copies of training utterances"
  steps features
fi

# shellcheck disable=SC2086
if wanted 3; then
  log "stage 3: features of all corpora and copies"
  launch $cpu_cmd JOB=1:"$nj" "$logs/features.JOB.log" \
    python "$SER_ROOT/steps/grid.py" features --job JOB --nj "$nj" "${where[@]}"
  steps features --finish true
  launch $cpu_cmd JOB=1:"$nj" "$logs/cmvn_stats.JOB.log" \
    python "$SER_ROOT/steps/grid.py" statistics --job JOB --nj "$nj" "${where[@]}"
fi

# shellcheck disable=SC2086
if wanted 4 || wanted 5 || wanted 6; then
  jobs="$nj jobs"
  ((pack == 1)) || jobs+=" of $pack processes"
  log "stages 4 to 6: experiments in ${root#"$recipe/"} ($jobs; how they stand: the same command with --status true)"
  launch $train_cmd JOB=1:"$nj" "$logs/grid.JOB.log" \
    python "$SER_ROOT/steps/grid.py" run --job JOB --nj "$nj" --pack "$pack" --run "$(date +%s).$$" "${where[@]}" ||
    log "some of the jobs failed (see above); the folders of the experiments have what is done"
  steps status --complete true || failed=true
fi

out=$root${tables:+/$tables}
if wanted 7; then
  log "stage 7: results"
  python "$SER_ROOT/steps/ledger.py" --verbose "$verbose" --grid "$grid" --recipe "$recipe" ${kept:+--kept "$kept/${root##*/}"} "$root" \
    --out "$out/ledger" || failed=true
  python "$SER_ROOT/steps/findings.py" --verbose "$verbose" --grid "$grid" --recipe "$recipe" "$out/ledger" --out "$out/findings"
  steps status --out "$out/status.png" > /dev/null
  python "$SER_ROOT/steps/report.py" --verbose "$verbose" "$out/findings" --ledger "$out/ledger" --grid-status "$out/status.json" \
    --out "$out/report/index.html"
fi

[[ $failed == false ]] || die "not all is done (see above); the same command tries again what is not"
exit
}
