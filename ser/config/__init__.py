"""One home a value: a key of conf/*.yaml = a field of a frozen dataclass = an option of the command line."""

from ser.config.load import (
    ExperimentReader,
    changed,
    deciding,
    differences,
    dotted,
    find,
    load,
    read_experiment,
    result_affecting,
    write_experiment,
)
from ser.config.schema import Batches, Experiment, Features, FrontendSettings, Network, Training

__all__ = [
    "Batches",
    "Experiment",
    "ExperimentReader",
    "Features",
    "FrontendSettings",
    "Network",
    "Training",
    "changed",
    "deciding",
    "differences",
    "dotted",
    "find",
    "load",
    "read_experiment",
    "result_affecting",
    "write_experiment",
]
