"""Arguments that several stages share."""

from __future__ import annotations

import argparse
from pathlib import Path


def experiment_arguments(description: str) -> argparse.ArgumentParser:
    """A parser with the folder of an experiment and where its data lie."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("folder", type=Path, help="the experiment's, with config.yaml")
    parser.add_argument("--recipe", type=Path, help="recipe folder whose conf/ comes first")
    parser.add_argument("--data", type=Path, default=Path("data"), help="where stage 1 wrote")
    parser.add_argument("--dump", type=Path, default=Path("dump"), help="root of the feature store")
    return parser
