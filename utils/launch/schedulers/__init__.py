"""Schedulers by the name of their launcher."""

from __future__ import annotations

from schedulers.gridengine import GridEngine
from schedulers.local import Local
from schedulers.slurm import Slurm

SCHEDULERS = {"run.sh": Local, "slurm.sh": Slurm, "queue.sh": GridEngine}
