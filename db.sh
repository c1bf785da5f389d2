# shellcheck shell=bash
# Where the corpora lie: the folder of each as its makers hand it out. Write the path after :- below, or set the
# variable in the environment, which comes first: RAVDESS=/corpora/ravdess ./run.sh

export IEMOCAP=${IEMOCAP:-}                # IEMOCAP_full_release, holds Session1 to Session5
export TESS=${TESS:-}                      # holds OAF_angry, YAF_sad, ...
export RAVDESS=${RAVDESS:-}                # holds Actor_01 to Actor_24
export CUSTOMER_PTBR=${CUSTOMER_PTBR:-}    # a CSV file or a Kaldi data dir of your own
