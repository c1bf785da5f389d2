import dataclasses

import pytest
import torch

from ser.common import InputError
from ser.config import load
from ser.training.device import has_bfloat16, resolve_device

CONFIG = load("strict", None, ["corpora=[ravdess]", "training.threads=1"]).training


def test_auto_uses_bfloat16_only_in_hardware():
    device_config = resolve_device(dataclasses.replace(CONFIG, device="cpu"))
    assert device_config.precision == ("bfloat16" if has_bfloat16(torch.device("cpu")) else "float32")


def test_a_processor_without_bfloat16_uses_float32(monkeypatch):
    monkeypatch.setattr("ser.training.device._cpu_flags", lambda: {"avx2", "fma"})
    assert resolve_device(dataclasses.replace(CONFIG, device="cpu")).precision == "float32"


def test_an_absent_device_is_an_error():
    with pytest.raises(InputError, match=r"device nonsense: .*; use cpu"):
        resolve_device(dataclasses.replace(CONFIG, device="nonsense"))
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match=r"device cuda: "):
            resolve_device(dataclasses.replace(CONFIG, device="cuda"))


def test_float32_is_float32():
    """Not TF32, which a GPU would take for convolutions and recurrent layers."""
    torch.backends.cudnn.allow_tf32 = True
    resolve_device(dataclasses.replace(CONFIG, device="cpu"))
    assert not torch.backends.cudnn.allow_tf32
