"""Settings: a key of conf/*.yaml is a field of a frozen dataclass and an option of the command line."""

from ser.config.load import (
    changed,
    differences,
    dotted,
    find,
    load,
    read_experiment,
    result_affecting,
    result_affecting_keys,
    write_experiment,
)
from ser.config.schema import Batches, Experiment, Features, FrontendSettings, Network, Training

__all__ = [
    "Batches",
    "Experiment",
    "Features",
    "FrontendSettings",
    "Network",
    "Training",
    "changed",
    "differences",
    "dotted",
    "find",
    "load",
    "read_experiment",
    "result_affecting",
    "result_affecting_keys",
    "write_experiment",
]
