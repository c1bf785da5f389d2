"""A Slurm of two nodes on this machine, without systemd, in a folder of its own."""

import os
import secrets
import socket
from pathlib import Path

from clusters.daemons import Daemons, free_ports, need, wait_for

APT = "slurmctld slurmd slurm-client munge"

SLURM_CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.sock,cred_expire=60
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=100
MaxArraySize=6
ReturnToService=2
SlurmdParameters=config_overrides
SlurmdTimeout=10
KillWait=5
MinJobAge=300
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0
GresTypes=gpu
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=4000 Gres=gpu:1 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=4000 Gres=gpu:1 State=UNKNOWN
PartitionName=main Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=n[1-2] MaxTime=INFINITE State=UP PriorityTier=2
"""


class SlurmHere(Daemons):
    """munged, slurmctld and a slurmd for each of n1 and n2, with two cores and a stand-in GPU each."""

    nodes = ("n1", "n2")
    controller = "slurmctld"
    program = "slurm.sh"
    task = "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"  # in a job: what delete takes

    def __init__(self, folder: Path) -> None:
        need(APT, "munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")
        conf = folder / "slurm.conf"
        path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
        super().__init__(folder, {**os.environ, "SLURM_CONF": str(conf), "PATH": path}, "SLURM_CONF")
        host = socket.gethostname().split(".")[0]
        user = self.ok("id", "-un").strip()
        conf.write_text(SLURM_CONF.format(folder=folder, host=host, user=user, ports=free_ports(3)))
        (folder / "gres.conf").write_text("NodeName=n[1-2] Name=gpu File=/dev/null\n")
        (folder / "state").mkdir()
        for node in self.nodes:
            (folder / f"spool.{node}").mkdir()
        key = folder / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o600)

    def begin(self) -> None:
        """Start all daemons and wait until both nodes take jobs."""
        folder = self.folder
        places = (f"--{name}-file={folder}/munge.{name}" for name in ("log", "pid", "seed"))
        self.start("munged", "munged", "-F", f"--socket={folder}/munge.sock", f"--key-file={folder}/munge.key", *places)
        wait_for((folder / "munge.sock").exists, "munged listens")
        self.start_controller()
        for node in self.nodes:
            self.start_node(node)
        wait_for(lambda: self.ask("sinfo", "-h", "-N", "-o", "%t").stdout.split() == ["idle"] * 4, "the nodes are idle")

    def start_controller(self) -> None:
        """Start the daemon that schedules."""
        self.start("slurmctld", "slurmctld", "-D", "-f", self.folder / "slurm.conf")

    def start_node(self, node: str = "n1") -> None:
        """Start the daemon of a node."""
        self.start(node, "slurmd", "-D", "-f", self.folder / "slurm.conf", "-N", node)

    def lose_node(self, node: str = "n1") -> None:
        """All processes of a node end at once, which Slurm would notice after a minute by itself."""
        self.lose(f"TEST_DAEMON={node}", f"SLURMD_NODENAME={node}")
        self.running.pop(node).wait()
        self.ok("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=lost")

    def delete(self, task: str) -> None:
        """As a user does."""
        self.ok("scancel", task)

    def queued(self) -> list[str]:
        """Jobs that wait or run."""
        return self.ok("squeue", "-h", "-r", "-o", "%i %T").splitlines()

    def clear(self) -> None:
        """Take everything out of the queue."""
        self.ok("scancel", "-u", str(os.getuid()))
