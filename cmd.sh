# shellcheck shell=bash
# Where jobs run. Source this after path.sh. Each variable holds a launcher and its options, is split in words where it
# is used ($train_cmd JOB=1:4 exp/log/x.JOB.log command ...), and may be set in the environment instead:
#   train_cmd="queue.pl --mem 8G --gpu 1" ./run.sh
#
# Launchers are found along PATH, where path.sh puts utils/ first, so a root with spaces in its name does no harm.
#   one machine      run.sh --max-jobs-run 4          utils/run.sh, not the run.sh of a recipe
#   Grid Engine      queue.pl --mem 8G --gpu 1        your own Kaldi's utils/queue.pl, with its conf/queue.conf
#   Slurm            slurm.pl --mem 8G --gpu 1        your own Kaldi's utils/slurm.pl, with its conf/slurm.conf
# For the last two, put the folder of that launcher on PATH: PATH=$PATH:/path/to/kaldi/egs/wsj/s5/utils

export train_cmd=${train_cmd:-run.sh --max-jobs-run 1}    # trainings: each uses all cores, or the GPU
export cpu_cmd=${cpu_cmd:-run.sh}                         # everything else: one core a job
