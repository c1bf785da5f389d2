"""Number of cores and threads for this process."""

from __future__ import annotations

import math
import os


def available_cores() -> int:
    """Number of cores that this process may use, by CPU affinity and control-group quota (docker --cpus)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="utf-8") as file:
            quota, period = file.read().split()
        return max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no such file, or "max": no quota
        return cores


def default_threads() -> int:
    """Number of threads in OMP_NUM_THREADS, as set by a scheduler or user; without it, that of the available cores."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return (int(first) if first.isdigit() else 0) or available_cores()
