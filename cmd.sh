# shellcheck shell=bash
# Where jobs run. Source this after path.sh. SER_CLUSTER chooses: nothing for this machine, slurm, or gridengine:
#   SER_CLUSTER=slurm ./run.sh
# Edit the lines below for your cluster; what an option means there is in conf/slurm.conf and conf/queue.conf.
# train_cmd and cpu_cmd hold a launcher and its options, are split in words where they are used
# ($train_cmd JOB=1:4 exp/log/x.JOB.log command ...), and may be set in the environment instead:
#   train_cmd="slurm.sh --gpu 1 --mem 8G --time 12:00:00" ./run.sh
# Launchers are found along PATH, where path.sh puts utils/ first, so a root with spaces in its name does no harm. Your own
# Kaldi's queue.pl or slurm.pl does as well:
#   PATH=$PATH:/path/to/kaldi/egs/wsj/s5/utils/parallel train_cmd="queue.pl --mem 8G --gpu 1" ./run.sh

# train_cmd: trainings, each with all cores of this machine, or those given here, or a GPU. cpu_cmd: one core a job.
case ${SER_CLUSTER:-} in
  "")
    train_cmd=${train_cmd:-run.sh --max-jobs-run 1}
    cpu_cmd=${cpu_cmd:-run.sh}
    ;;
  slurm)
    train_cmd=${train_cmd:-slurm.sh --num-threads 4 --mem 2G} # or slurm.sh --gpu 1 --mem 8G --time 12:00:00
    cpu_cmd=${cpu_cmd:-slurm.sh --mem 4G}
    ;;
  gridengine)
    train_cmd=${train_cmd:-queue.sh --num-threads 4 --mem 2G} # or queue.sh --gpu 1 --mem 8G --time 12:00:00
    cpu_cmd=${cpu_cmd:-queue.sh --mem 4G}
    ;;
  *)
    echo "error: SER_CLUSTER=$SER_CLUSTER: slurm, gridengine, or nothing for this machine" >&2
    return 1
    ;;
esac
export train_cmd cpu_cmd
