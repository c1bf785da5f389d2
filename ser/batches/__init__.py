"""Mini-batches: utterances of one corpus and of similar length, read through memory maps."""

from ser.batches.batch import Batch, collate
from ser.batches.dataset import UtteranceDataset, fit_statistics
from ser.batches.load import UNIFIED, Data, compute_statistics, open_data
from ser.batches.part import Part
from ser.batches.sampler import Sampler, by_length

__all__ = [
    "UNIFIED",
    "Batch",
    "Data",
    "Part",
    "Sampler",
    "UtteranceDataset",
    "by_length",
    "collate",
    "compute_statistics",
    "fit_statistics",
    "open_data",
]
