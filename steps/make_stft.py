#!/usr/bin/env python3
"""One job of stage 3, or what stands before and after the jobs; steps/make_stft.sh calls it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # launchers of clusters pass PATH alone

from ser.common import guarded
from ser.config import read_experiment


@guarded
def main() -> int:
    """Print the folder of the features (no option), compute a share (--job), or join the shares (--finish true)."""
    parser = argparse.ArgumentParser(description="Log-STFT features of a prepared corpus.")
    parser.add_argument("config", type=Path, help="config.yaml of an experiment")
    parser.add_argument("data_dir", type=Path, help="prepared corpus, such as data/ravdess")
    parser.add_argument("dump_dir", type=Path, help="root of the feature store")
    parser.add_argument("--job", type=int, default=0, help="compute this share, from 1")
    parser.add_argument("--nj", type=int, default=1, help="number of shares")
    parser.add_argument("--finish", choices=["true", "false"], default="false", help="join the shares")
    options = parser.parse_args()
    from ser.features import FeatureStore

    store = FeatureStore(options.dump_dir, options.data_dir, read_experiment(options.config).features)
    if options.job:
        import torch

        torch.set_num_threads(1)  # the jobs share the cores
        computed, found = store.compute(options.job, options.nj)
        print(f"{computed} utterances computed, {found} found done")
    elif options.finish == "true":
        count = len(store.cuts) if store.finished else store.finish()
        store.link()
        print(f"{options.data_dir.name}: features of {count} utterances in {store.folder}")
    else:
        if not store.finished:
            (store.folder / "info.json").unlink(missing_ok=True)
        print(store.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
