#!/usr/bin/env python3
"""One job of stage 3, or the preparation before and the merge after the jobs, for steps/extract_features.sh."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # launchers of clusters pass PATH alone

from ser.common import guarded
from ser.common.cli import Parser
from ser.common.files import check_cluster_locks
from ser.common.jobs import start_job
from ser.config import read_experiment

SHOWN = 5  # padded utterances


@guarded
def main() -> None:
    """Print the folder of the set (no option), compute a share (--job), or join the shares (--finish true)."""
    parser = Parser(description="Log-STFT features of a prepared corpus, or of a train set with copies.")
    parser.add_argument("config", type=Path, help="config.yaml of an experiment")
    parser.add_argument("data_dir", type=Path, help="such as data/ravdess, or a train_<digest> folder of stage 2 in it")
    parser.add_argument("dump_dir", type=Path, help="root of the feature store")
    parser.add_argument("--job", type=int, default=0, help="compute this share, from 1")
    parser.add_argument("--nj", type=int, default=1, help="number of shares")
    parser.add_switch("--finish", help="join the shares")
    options = parser.parse_args()
    from ser.augment import build_augment
    from ser.features import FeatureStore
    from ser.frontends import build_frontend

    experiment = read_experiment(options.config)
    store = FeatureStore(options.dump_dir, options.data_dir, build_frontend(experiment))
    if store.copies and (options.job or (not options.finish and not store.finished)):
        store.augment = build_augment(experiment.augment, options.dump_dir / "rooms")
    if options.job:
        start_job(options.job, options.nj)
        computed, existing = store.compute(options.job, options.nj)
        print(f"{computed} utterances computed, {existing} found done")
    elif options.finish:
        count = store.finish()
        store.link()
        copies = f", {store.copies} of them copies," if store.copies else ""
        print(f"{store.corpus_dir.name}: features of {count} utterances{copies} in {store.folder}")
        if padded := store.padded():
            names = ", ".join(padded[:SHOWN]) + (", ..." if len(padded) > SHOWN else "")
            print(f"  {len(padded)} shorter than one frame were padded: {names} (all in {store.folder / 'info.json'})")
    else:
        if not store.finished:
            check_cluster_locks(options.dump_dir)
            print(store.estimate(), file=sys.stderr)
            store.prepare()
        print(store.folder)


if __name__ == "__main__":
    sys.exit(main())
