"""A Grid Engine of one node on this machine, without systemd, in a folder of its own."""

import os
import shutil
import socket
from pathlib import Path

from clusters.daemons import Daemons, free_ports, need, wait_for

APT = "gridengine-master gridengine-exec gridengine-client gridengine-common"
LIB = Path("/usr/lib/gridengine")
SHARE = Path("/usr/share/gridengine")

BOOTSTRAP = """
admin_user             {user}
default_domain         none
ignore_fqdn            true
spooling_method        classic
spooling_lib           libspoolc
spooling_params        {common};{folder}/spool/qmaster
binary_path            /usr/lib/gridengine
qmaster_spool_dir      {folder}/spool/qmaster
security_mode          none
listener_threads       2
worker_threads         2
scheduler_threads      1
"""

# what differs from Debian's default-configuration
CONFIGURATION = {
    "execd_spool_dir": "{folder}/spool/execd",
    "mailer": "/bin/true",
    "min_uid": "0",
    "min_gid": "0",
    "load_report_time": "00:00:01",
    "max_unheard": "00:00:05",
    "administrator_mail": "none",
    "max_aj_tasks": "5",
    "reporting_params": "accounting=true reporting=false flush_time=00:00:01 joblog=false sharelog=00:00:00 "
    "accounting_flush_time=00:00:00",
}

SCHEDULER = {"schedule_interval": "0:0:1", "flush_submit_sec": "1", "flush_finish_sec": "1"}

NODE = """hostname {host}
load_scaling NONE
complex_values gpu=1
user_lists NONE
xuser_lists NONE
projects NONE
xprojects NONE
usage_scaling NONE
report_variables NONE
"""

QUEUE = {
    "qname": "all.q",
    "hostlist": "{host}",
    "slots": "3",
    "pe_list": "smp",
    "load_thresholds": "NONE",
    "shell": "/bin/bash",
    "shell_start_mode": "unix_behavior",
    "notify": "00:00:20",
    "complex_values": "NONE",
}


def edited(text: str, values: dict[str, str], **names: object) -> str:
    """Lines of 'key value' with other values for some keys."""
    lines = []
    for line in text.replace("\\\n", " ").splitlines():
        key = line.split()[0] if line.split() else ""
        lines.append(f"{key} {values[key].format(**names)}" if key in values else line)
    return "\n".join(lines) + "\n"


class GridEngineHere(Daemons):
    """sge_qmaster and one sge_execd, which takes three jobs at once and has a stand-in GPU."""

    nodes = ("execd",)
    controller = "qmaster"
    program = "queue.sh"
    task = "$JOB_ID.$SGE_TASK_ID"  # in a job: what delete takes

    def __init__(self, folder: Path) -> None:
        need(APT, "sge_qmaster", "sge_execd", "spoolinit", "qsub", "qstat", "qdel", "qconf")
        root = folder / "root"
        self.common = root / "default" / "common"
        self.common.mkdir(parents=True)
        (folder / "spool" / "qmaster" / "job_scripts").mkdir(parents=True)
        (folder / "spool" / "execd").mkdir()
        (root / "util").symlink_to(SHARE / "util")
        for name in ("bin", "utilbin", "lib"):
            (root / name).mkdir()
            (root / name / "lx-amd64").symlink_to(LIB)
        ports = free_ports(2)
        environment = {
            **os.environ,
            "SGE_ROOT": str(root),
            "SGE_CELL": "default",
            "SGE_ARCH": "lx-amd64",
            "SGE_QMASTER_PORT": str(ports[0]),
            "SGE_EXECD_PORT": str(ports[1]),
            "SGE_ND": "1",  # stay in the foreground
            "PATH": f"{LIB}:{os.environ['PATH']}",
        }
        super().__init__(folder, environment, "SGE_ROOT")
        self.host = socket.gethostname().split(".")[0]

    def begin(self) -> None:
        """Start both daemons and wait until the node takes jobs."""
        folder, common, user = self.folder, self.common, self.ok("id", "-un").strip()
        (common / "bootstrap").write_text(BOOTSTRAP.format(folder=folder, common=common, user=user).lstrip())
        (common / "act_qmaster").write_text(f"{self.host}\n")
        name, others, _ = socket.gethostbyaddr("127.0.0.1")
        aliases = dict.fromkeys(("localhost", name, *others))
        (common / "host_aliases").write_text(" ".join((self.host, *(n for n in aliases if n != self.host))) + "\n")
        default = (SHARE / "default-configuration").read_text()
        configuration = folder / "configuration"
        configuration.write_text(edited(default, CONFIGURATION, folder=folder))
        resources = folder / "resources"
        shutil.copytree(SHARE / "util" / "resources" / "centry", resources)
        gpu = {"name": "gpu", "shortcut": "gpu", "type": "INT", "consumable": "JOB", "default": "0"}
        (resources / "gpu").write_text(edited((resources / "slots").read_text(), gpu))
        self.ok("spoolinit", "classic", "libspoolc", f"{common};{folder}/spool/qmaster", "init")
        self.ok("spooldefaults", "configuration", configuration)
        self.ok("spooldefaults", "complexes", resources)
        self.ok("spooldefaults", "usersets", SHARE / "util" / "resources" / "usersets")
        self.ok("spooldefaults", "managers", user)
        self.start_controller()
        wait_for(lambda: self.ask("qconf", "-sh").returncode == 0, "sge_qmaster answers")
        self.ask("qconf", "-ah", self.host)
        self.ask("qconf", "-as", self.host)
        self.configure("scheduler", "-Msconf", edited(self.ok("qconf", "-ssconf"), SCHEDULER))
        self.configure("node", "-Ae", NODE.format(host=self.host))
        self.ok("qconf", "-Ap", SHARE / "util" / "resources" / "pe" / "smp")
        self.configure("queue", "-Aq", edited(self.ok("qconf", "-sq"), QUEUE, host=self.host))
        self.start_node()
        wait_for(lambda: self.ask("qhost", "-F", "load_avg").stdout.count("load_avg") == 1, "the node reports")

    def configure(self, name: str, option: str, text: str) -> None:
        """Give qconf a file."""
        file = self.folder / f"{name}.qconf"
        file.write_text(text)
        self.ok("qconf", option, file)

    def start_controller(self) -> None:
        """Start the daemon that schedules."""
        self.start("qmaster", "sge_qmaster")

    def start_node(self, node: str = "execd") -> None:
        """Start the daemon of the node."""
        self.start(node, "sge_execd")

    def lose_node(self, node: str = "execd") -> None:
        """All processes of a node end at once."""
        self.lose(f"TEST_DAEMON={node}", "QUEUE=all.q")
        self.running.pop(node).wait()

    def delete(self, task: str) -> None:
        """As a user does."""
        self.ok("qdel", task)

    def queued(self) -> list[str]:
        """Jobs that wait or run."""
        return self.ok("qstat").splitlines()[2:]

    def clear(self) -> None:
        """Take everything out of the queue: a new sge_execd hears of the end of older jobs each minute."""
        self.ask("qdel", "-f", "-u", "*")
