"""One home a value: a key of conf/*.yaml = a field of a frozen dataclass = an option of the command line."""

from ser.config.load import decisive, differences, dotted, find, load, read_experiment, save
from ser.config.schema import Batches, Experiment, Features, FrontendSettings, Network, Training

__all__ = [
    "Batches",
    "Experiment",
    "Features",
    "FrontendSettings",
    "Network",
    "Training",
    "decisive",
    "differences",
    "dotted",
    "find",
    "load",
    "read_experiment",
    "save",
]
