"""How many cores there are for this process."""

from __future__ import annotations

import math
import os


def available_cores() -> int:
    """Cores that this process may use, by affinity and by the quota of its control group (docker --cpus)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="utf-8") as file:
            quota, period = file.read().split()
        return max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no such file, or "max": no quota
        return cores


def asked_threads() -> int:
    """OMP_NUM_THREADS, which schedulers and people set; 0 where it is not set."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdigit() else 0
