"""Select device, precision and threads of a training."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path

import torch

from ser.common import InputError
from ser.common.cores import available_cores, default_threads
from ser.config import Training

# Parameters of mallopt, from malloc.h of glibc.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


@dataclass(frozen=True)
class DeviceConfig:
    """Device, precision and threads of a training.

    Attributes:
        precision: float32 or bfloat16.
        threads: number of threads of torch.
        spare_core: whether a core is free to read batches while the others, or a GPU, compute.
    """

    device: torch.device
    precision: str
    threads: int
    spare_core: bool

    def autocast(self) -> torch.autocast:
        """The context of the forward pass; losses, softmax and variance are computed in float32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")


def resolve_device(config: Training) -> DeviceConfig:
    """Resolve training.device, training.precision and training.threads.

    Raises:
        InputError: the device does not exist.
    """
    name = config.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = open_device(name)
    if device.type == "cpu":
        keep_freed_memory()
    threads = config.threads or default_threads()
    torch.set_num_threads(threads)
    precision = config.precision
    if precision == "auto":
        precision = "bfloat16" if has_bfloat16(device) else "float32"
    return DeviceConfig(device, precision, threads, device.type != "cpu" or threads < available_cores())


def open_device(name: str) -> torch.device:
    """Open a device, and switch off TF32 so that float32 results agree with those of a CPU.

    Raises:
        InputError: there is no such device.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # the device meta holds no values
    except (RuntimeError, AssertionError) as error:
        raise InputError(str(error).splitlines()[0], f"device {name}", "use cpu") from None
    torch.backends.cudnn.allow_tf32 = False
    return device


def keep_freed_memory() -> None:
    """Let glibc keep freed memory for the next tensors; by default it returns large blocks to the system.

    The system zeroes every new page, which takes as long as many of the smaller operations of a network.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt and mallopt(M_MMAP_THRESHOLD, 2**30):
        mallopt(M_TRIM_THRESHOLD, 2**30)


def has_bfloat16(device: torch.device) -> bool:
    """Whether the hardware multiplies in bfloat16; emulation is a hundred times slower."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        in_hardware = _cpu_flags() & {"avx512_bf16", "amx_bf16", "bf16"}
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported() and in_hardware)
    return False


def _cpu_flags() -> set[str]:
    """The words of /proc/cpuinfo, among them the features of the processor."""
    path = Path("/proc/cpuinfo")
    return set(path.read_text(encoding="utf-8").split()) if path.is_file() else set()
