#!/usr/bin/env bash
# The one recipe. A recipe folder declares its corpora and calls this: see egs/ravdess/run.sh.
set -euo pipefail
{ # read whole before anything runs, so that an update of this file does no harm to a run that takes hours
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/path.sh"
. "$SER_ROOT/db.sh"
. "$SER_ROOT/cmd.sh"

given=("$@")
stage=0             # first stage to run
stop_stage=7        # last stage to run
nj=4                # processes of stage 1, jobs of stage 3
corpora=            # comma-separated names of conf/corpora/*.yaml
preset=strict       # conf/presets/<preset>.yaml
split=              # strict: rotating folds; paper: one fixed list
fold=               # fold, from 1
folds=              # several in turn, then the table of all together: all, or such as "1 2"
seed=               # seed of all random draws
task=               # multi: one head a corpus; unified: one head for all
temporal=           # lstm, blstm, tdnn, attention, nin or none
pooling=            # mu, mu_sigma2, mean, statistics or attentive_statistics
device=             # auto, cpu or cuda
ngpu=               # GPUs of one training, a process each
recipe=$PWD         # recipe folder, whose local/ and conf/ come first
data=               # prepared corpora; none: data in the recipe folder
dump=$SER_ROOT/dump # feature store, shared by all recipes
exp=                # experiments; none: exp in the recipe folder
tag=                # a name for these experiments, which then lie in exp_<tag>
search=             # search for settings with so many trials (Optuna), on validation speakers, and stop
dry_run=false       # print what would run, what is done and how long a training takes, and stop
extras=             # extra packages that the recipe needs
allow_pipes=false   # run the commands in the wav.scp of a Kaldi data dir
allow_partial=false # go on with an incomplete corpus, and list what is missing
recheck=false       # in stage 1, read every audio file again, though its size and times are as before
pictures=false      # draw curves, confusion matrices and reliability in stage 6
verbose=false       # log the files that each step reads and writes, and what it leaves out
allow_confounded=false # go on with speaker statistics where the class follows from the speaker
declare -a config_options=()

help() {
  cat <<HELP
Usage: ./run.sh [options]     train and score ${corpora:-corpora} (preset $preset)

Stages (every finished one is a no-op when run again):
  0  fetch or make the corpora that may be, and a pretrained front end
  1  prepare: lhotse manifests, Kaldi data dirs
  2  augment: choose the copies of training utterances (--augment.copies)
  3  features of the front end, of utterances and copies, and their statistics
  4  train
  5  decode: posteriors of the test and validation utterances
  6  score: result.json
  7  table of all results

Options (default):
$(while read -r name text; do
    value=${!name:-$(sed -n "s/^$name: *\([^ ]*\).*/\1/p" "$SER_ROOT"/conf/{experiment,training}.yaml)}
    printf '  --%-15s %s (%s)\n' "${name//_/-}" "$text" "${value:-none}"
  done < <(sed -n '/^stage=/,/^allow_confounded=/s/^\([a-z_]*\)=[^#]*# */\1 /p' "$SER_ROOT/run.sh"))

Any key of conf/ is an option too, below with its default, which a preset may change:
$(for section in frontend features augment batches network training; do # keys of a nested section get its name in front
    sed -nE -e '/^[a-z0-9_]+: *(#.*)?$/ { s/:.*/./; h }' -e '/^  [a-z]/ { G; s/^ +(.*)\n(.*)/\2\1/ }' \
      -e "s/^([a-z0-9_.]+: .*)/  --$section.\1/p" "$SER_ROOT/conf/$section.yaml"
  done)
HELP
}

. "$SER_ROOT/utils/parse_options.sh"
. "$SER_ROOT/utils/recipe.sh"

check_common "$@"
check_commands
[[ $search =~ ^([1-9][0-9]*)?$ ]] || die "--search $search: a number of trials"
[[ -n $corpora ]] || die "no corpora: call the run.sh of a folder below egs/, or give --corpora ravdess"
[[ $corpora =~ ^[a-z][a-z0-9_]*(,[a-z][a-z0-9_]*)*$ ]] || die "--corpora $corpora: names such as tess,ravdess"
[[ $tag =~ ^[A-Za-z0-9_.-]*$ && (-z $tag || -z $exp) ]] || die "--tag $tag: letters, digits, _, . and -, and no --exp beside it"
[[ $folds =~ ^(all|[0-9\ ]*)$ && (-z $folds || -z $fold) ]] || die "--folds $folds: all, or numbers from 1, and no --fold beside it"
data=$(realpath -ms "${data:-$recipe/data}") dump=$(realpath -ms "$dump") exp=$(realpath -ms "${exp:-$recipe/exp${tag:+_$tag}}")

# Where each corpus lies: RAVDESS for ravdess, from db.sh or the environment; else where the base of its protocol lies.
declare -A corpus_dir=()
for corpus in ${corpora//,/ }; do
  base=$corpus
  for _ in {1..9}; do # bases may have bases
    variable=${base^^} protocol=conf/corpora/$base.yaml
    file=$recipe/$protocol
    [[ -f $file ]] || file=$SER_ROOT/$protocol
    [[ -f $file ]] ||
      die "$corpus: no $protocol below $recipe or $SER_ROOT; there is: $(cd "$SER_ROOT/conf/corpora" && echo *.yaml)"
    base=$(sed -n "s/^base: *[\"']\{0,1\}\([a-z0-9_]*\).*/\1/p" "$file")
    [[ -z ${!variable:-} && -n $base ]] || break
  done
  corpus_dir[$corpus]=${!variable:+$(realpath -ms "${!variable}")}
  if ((stage <= 1)) && [[ -z ${corpus_dir[$corpus]} ]]; then
    die "$corpus: $variable is not set; write its folder in $SER_ROOT/db.sh, or call $variable=/path/to/${variable,,} ${recipe#"$SER_ROOT/"}/run.sh"
  fi
done

# shellcheck disable=SC2086
ser_environment ${extras//,/ }
if [[ -n $folds ]]; then
  . "$SER_ROOT/utils/all_folds.sh"
  exit
fi
# The first job of a stage shows its progress on this terminal, though its output goes to a log.
if [[ -t 2 ]]; then exec 3>&2 && export SER_TERMINAL_FD=3; fi

allowed=${allow_confounded#false}
set -- "corpora=[$corpora]" "${config_options[@]#--}" \
  ${allowed:+"batches.allow_confounded=$allowed"} \
  ${split:+"split=$split"} ${fold:+"fold=$fold"} ${seed:+"seed=$seed"} ${task:+"task=$task"} \
  ${temporal:+"temporal=$temporal"} ${pooling:+"pooling=$pooling"} ${device:+"training.device=$device"} \
  ${ngpu:+"training.ngpu=$ngpu"}
if [[ $dry_run == true ]]; then
  python "$SER_ROOT/steps/configure.py" --verbose "$verbose" --preset "$preset" --recipe "$recipe" --plan "$data" "$dump" "$exp" "$@"
  exit
fi
folder=$(python "$SER_ROOT/steps/configure.py" --verbose "$verbose" --preset "$preset" --recipe "$recipe" "$exp" "$@")
cd "$recipe"
logs=$(realpath -ms --relative-to=. "$folder")/log # relative, for Kaldi's run.pl fails on a log path with spaces
where=(--verbose "$verbose" --recipe "$recipe" --data "$data" --dump "$dump" "$folder")

if wanted 0; then
  for corpus in ${corpora//,/ }; do
    log "stage 0: $corpus in ${corpus_dir[$corpus]}"
    python "$SER_ROOT/steps/prepare.py" --verbose "$verbose" --download true --recipe "$recipe" \
      "$corpus" "${corpus_dir[$corpus]}" "$data/$corpus"
  done
  python "$SER_ROOT/steps/fetch_pretrained.py" --verbose "$verbose" "$folder/config.yaml"
fi

if wanted 1; then
  for corpus in ${corpora//,/ }; do
    log "stage 1: prepare $corpus"
    python "$SER_ROOT/steps/prepare.py" --allow-partial "$allow_partial" --allow-pipes "$allow_pipes" --recipe "$recipe" \
      --verbose "$verbose" --recheck "$recheck" --nj "$nj" --experiment "$folder/config.yaml" "$corpus" "${corpus_dir[$corpus]}" "$data/$corpus"
  done
fi

if wanted 2; then
  log "stage 2: copies of training utterances"
  python "$SER_ROOT/steps/augment.py" "${where[@]}"
fi

if wanted 3; then
  data_dirs=$(python "$SER_ROOT/steps/augment.py" --dirs true "${where[@]}")
  mapfile -t data_dirs <<< "$data_dirs"
  for data_dir in "${data_dirs[@]}"; do
    log "stage 3: features of ${data_dir#"$data/"}"
    launch "$SER_ROOT/steps/extract_features.sh" --verbose "$verbose" --nj "$nj" --cmd "$cpu_cmd" "$folder/config.yaml" "$data_dir" "$dump"
  done
  jobs=$((nj < ${#corpus_dir[@]} ? nj : ${#corpus_dir[@]})) # one a corpus at most
  # shellcheck disable=SC2086
  launch $cpu_cmd JOB=1:"$jobs" "$logs/cmvn_stats.JOB.log" \
    python "$SER_ROOT/steps/compute_cmvn_stats.py" --job JOB --nj "$jobs" "${where[@]}"
fi

if [[ -n $search ]]; then
  log "search: $search trials"
  launch python "$SER_ROOT/steps/search.py" --trials "$search" "${where[@]}"
  exit
fi

# shellcheck disable=SC2086
if wanted 4; then
  log "stage 4: train ${folder#"$exp/"} (log: $folder/train.log)"
  launch $train_cmd ${ngpu:+--gpu "$ngpu"} "$logs/train.log" python "$SER_ROOT/steps/train.py" "${where[@]}"
fi

# shellcheck disable=SC2086
if wanted 5; then
  log "stage 5: decode"
  launch $train_cmd "$logs/decode.log" python "$SER_ROOT/steps/decode.py" "${where[@]}"
fi

if wanted 6; then
  log "stage 6: score"
  python "$SER_ROOT/steps/score.py" --pictures "$pictures" "${where[@]}"
fi

if wanted 7; then
  log "stage 7: results"
  python "$SER_ROOT/steps/tables.py" --verbose "$verbose" --recipe "${recipe#"$SER_ROOT/"}/run.sh" "$exp"
fi
exit
}
