"""The training engine: batches of alternating corpora until the validation loss no longer improves.

Every random number is a function of (seed, fold, task, purpose, number), so tensors, step and history are the whole
state: a training that is killed and resumed gives bit for bit the result of an uninterrupted one (on the CPU).
"""

from __future__ import annotations

import hashlib
import json
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ser.batches import Batch, Part, Sampler, UtteranceDataset, collate, fit_statistics
from ser.common import InputError, atomic_path, derive_seed, digest, locked, read_json, write_text
from ser.common.files import sha256
from ser.common.jobs import handling
from ser.common.kinds import of_kind
from ser.common.metrics import confusion_matrix
from ser.common.provenance import provenance
from ser.common.records import write_record
from ser.common.run_folder import CHECKPOINT, EPOCHS, MODEL, TRAIN, TRAINING, is_trained
from ser.config import Experiment, result_affecting
from ser.config.metrics import scores, scores_text
from ser.config.registry import LOSS, from_registry
from ser.frontends import build_frontend
from ser.nets import SpeechEmotionNetwork, build
from ser.nets.averaging import SavedStates, part_of
from ser.nets.evaluate import log_posteriors
from ser.training import checkpoint as files
from ser.training.class_weights import class_weights
from ser.training.device import DeviceConfig, resolve_device
from ser.training.objective import BatchLoss, validation_loss
from ser.training.processes import SINGLE_PROCESS, Processes
from ser.training.schedule import corpus_positions, corpus_schedule, lr_lambda, updates_per_epoch, validation_sample
from ser.training.stopping import EarlyStopping
from ser.training.training_logger import TrainingLogger

# EX_TEMPFAIL: a launcher may start the job again.
REQUEUE = 75


class Interrupted(Exception):
    """A signal ended the training; the checkpoint is written."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 130 if number == signal.SIGINT else REQUEUE


class Trainer:
    """Trains an experiment in a folder, or resumes from its checkpoint.

    Args:
        experiment: the settings.
        folder: for epochs.jsonl, checkpoint, train.json and model.
        heads: head name -> class list.
        train: corpus -> training part, in the order of alternation.
        valid: corpus -> validation part; the others are not monitored.
        hashes: of settings, data and split, recorded with the result; a checkpoint with other hashes is refused.
        warnings: about the data, for the log.
        keep_checkpoint: keep it at the end if more epochs can follow (`Training.can_continue`).
        echo: whether to print the log as well.
        processes: of this training; the main process writes the files.
    """

    def __init__(
        self,
        experiment: Experiment,
        folder: Path,
        heads: dict[str, tuple[str, ...]],
        train: dict[str, Part],
        valid: dict[str, Part],
        hashes: dict[str, str],
        warnings: Sequence[str] = (),
        keep_checkpoint: bool = False,
        echo: bool = True,
        processes: Processes = SINGLE_PROCESS,
    ) -> None:
        if not train:
            raise InputError("no corpus has training speakers", folder, "choose another fold or split")
        if not valid:
            raise InputError(f"none of {', '.join(train)} has validation speakers, so nothing is monitored", folder)
        self.experiment, self.folder, self.hashes, self.heads = experiment, folder, hashes, heads
        self.config, self.echo, self.processes = experiment.training, echo, processes
        self.keep_checkpoint = keep_checkpoint and self.config.can_continue
        self.device_config: DeviceConfig = resolve_device(self.config)
        self.train = {corpus: UtteranceDataset(part, experiment.batches) for corpus, part in train.items()}
        self.valid = {corpus: UtteranceDataset(part, experiment.batches) for corpus, part in valid.items()}
        self.weights = {c: class_weights(part.class_counts, self.config.class_weights) for c, part in train.items()}
        self.warnings = [*warnings, *self._untrained_class_warnings(valid)]
        self.device_weights = {c: torch.from_numpy(w).to(self.device_config.device) for c, w in self.weights.items()}
        self.corpora = list(train)
        self.samplers = self._new_samplers()
        self._check_processes()
        self.epoch_steps = updates_per_epoch(self.config, [s.batches_per_pass for s in self.samplers.values()])
        self.steps = self.epoch_steps * self.config.max_epochs
        self.samples = {
            corpus: validation_sample(dataset.part.targets, self.config, ("validation", corpus, experiment.fold))
            for corpus, dataset in self.valid.items()
        }
        sizes = [len(dataset) for dataset in self.train.values()]
        self.corpus_schedule = corpus_schedule(
            sizes, self.steps, experiment.batches.temperature, self._purpose("turns")
        )
        self.corpus_positions = corpus_positions(self.corpus_schedule)
        self.network = self._new_network()
        self.loss = self._new_loss()
        self.optimizer = self._new_optimizer()
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        batch_loss = BatchLoss(self.network, self.loss, self.config, self.device_config)
        self.batch_loss = processes.wrap(batch_loss, self.network.some_idle)
        self.step = 0
        self.stopping = EarlyStopping()
        self.history: list[dict[str, Any]] = []
        self.seconds: list[float] = []
        self.losses: dict[str, list[float]] = {corpus: [] for corpus in self.corpora}
        self.saved_states = SavedStates(self.config.average, best=self.config.keep == "best")
        self.signal: int | None = None
        self.checkpoint, self.checkpoint_time = folder / CHECKPOINT, time.monotonic()
        self.provenance = provenance()  # read now, since the code may change on disk during the training
        self.code = [self.provenance["code_hash"]]  # hashes of all code that took part in the training

    def _check_processes(self) -> None:
        """Check that each process has a share of every batch."""
        if self.config.ngpu > 1 and self.processes.size == 1:
            raise InputError(
                "a grid or a search trains each experiment in one process", "training.ngpu", "leave it out there"
            )
        for corpus, sampler in self.samplers.items():
            if sampler.batch_size < self.processes.size:
                raise InputError(
                    f"{self.processes.size} processes, and batches of {sampler.batch_size} utterances of {corpus}",
                    "training.ngpu",
                    f"give {sampler.batch_size} or fewer",
                )

    def _untrained_class_warnings(self, valid: Mapping[str, Part]) -> list[str]:
        """Warn of classes that a corpus validates but does not train; their weight in the loss is 0.

        Raises:
            InputError: a corpus validates no class that it trains.
        """
        warnings = []
        for corpus, part in valid.items():
            if corpus not in self.weights:
                raise InputError(
                    f"{corpus} has speakers to validate and none to train", self.folder, "choose another fold or split"
                )
            untrained = (part.class_counts > 0) & (self.weights[corpus] == 0)
            names = ", ".join(part.classes[i] for i in np.flatnonzero(untrained))
            if names and not (part.class_counts[~untrained] > 0).any():
                raise InputError(
                    f"{corpus} has {names} to validate and none of it to train",
                    self.folder,
                    "choose another fold or split",
                )
            if names:
                warnings.append(
                    f"{corpus}: {names} to validate and none to train: weight 0 in the validation loss, recall 0, "
                    "which counts in UA"
                )
        return warnings

    def run(self) -> None:
        """Train until early stopping or the last epoch.

        Raises:
            Interrupted: by SIGTERM, SIGUSR1 or SIGINT; the checkpoint is written.
        """
        lock = locked(self.folder / TRAINING, f"{self.folder} is being trained")
        with lock if self.processes.is_main else nullcontext():
            if self.processes.maximum(self.processes.is_main and is_trained(self.folder)):
                return  # another job has trained it meanwhile
            self._restore()
            self._log_start()
            with handling(self._remember, signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
                while not self._finished():
                    self._run_epoch()
            self._finish()

    # -- one epoch ----------------------------------------------------------------------------------------------------

    def _run_epoch(self) -> None:
        epoch, started = len(self.history) + 1, time.monotonic()
        steps = self.epoch_steps
        with self.logger.epoch_bar(steps, self.step - (epoch - 1) * steps) as bar:
            self.run_steps(epoch * steps, bar.step)
        self._validate(epoch)
        self.seconds.append(time.monotonic() - started)
        self.logger.log_epoch()
        self._save_checkpoint_if_due()

    def run_steps(self, end: int, on_step: Callable[[float], object] = lambda _: None) -> None:
        """Train up to step `end`.

        Args:
            end: number of the last step, from 1.
            on_step: called with the loss after every step.
        """
        for batch in self._batches(self.step, end):
            loss = self._update(batch)
            self.losses[batch.corpus].append(loss)
            self.step += 1
            on_step(loss)
            self._save_checkpoint_if_due()

    def _batches(self, start: int, end: int) -> Iterator[Batch]:
        """Read the batches of steps `start` to `end`; with a spare core, each during the update of the step before.

        If all cores compute, a reading thread costs more than reading between the updates (docs/performance.md).
        """
        if not self.device_config.spare_core:
            yield from map(self._batch, range(start, end))
            return
        upcoming: Future[Batch] | None = None
        with ThreadPoolExecutor(1) as reader:
            for step in range(start, end):
                batch = upcoming.result() if upcoming else self._batch(step)
                upcoming = reader.submit(self._batch, step + 1) if step + 1 < end else None
                yield batch

    def _batch(self, step: int) -> Batch:
        corpus = self.corpora[self.corpus_schedule[step]]
        rng = np.random.default_rng(derive_seed(*self._purpose("distortion", *self._rank_purpose), step))
        crops = self.samplers[corpus].batch(int(self.corpus_positions[step]))
        return collate(self.train[corpus], crops[self.processes.share(len(crops))], rng)

    def _update(self, batch: Batch) -> float:
        """Update once and return the loss; heads of other corpora get no gradient, so Adam does not change them."""
        self.network.train()
        self.loss.train()
        self.optimizer.zero_grad(set_to_none=True)
        seed = derive_seed(*self._purpose("dropout"), self.step)
        torch.manual_seed(derive_seed(*self._purpose("dropout", *self._rank_purpose), self.step))
        rng = np.random.default_rng(derive_seed(*self._purpose("mixup", *self._rank_purpose), self.step))
        weights = self.device_weights[batch.corpus]
        progress = self.step / self.steps

        def gather(rows: Tensor) -> Tensor:
            if self.processes.size > 1:
                torch.manual_seed(seed)  # from here on, random numbers are the same in all processes
            return self.processes.gather(rows, self.samplers[batch.corpus].batch_size)

        loss = self.batch_loss(batch, weights, rng, progress, gather)
        value = float(loss.detach())
        if not math.isfinite(value):
            part = self.train[batch.corpus].part
            raise InputError(
                f"the loss of step {self.step + 1} is not a number, in a batch of {batch.corpus} with "
                f"{', '.join(part.ids[i] for i in batch.indices[:3])} and "
                f"{max(0, len(batch.indices) - 3)} more",
                self.folder,
                "look at these, or lower training.learning_rate (the last checkpoint is kept)",
            )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, self.config.gradient_clip)
        factor = lr_lambda(self.step, self.steps, self.config.schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * factor
        self.optimizer.step()
        return value

    def _scores(self, samples: Mapping[str, np.ndarray | None]) -> dict[str, dict[str, float]]:
        """Compute loss and scores of the network on each validation part, or on a sample of it."""
        valid: dict[str, dict[str, float]] = {}
        for corpus, dataset in self.valid.items():
            part, sample, head = dataset.part, samples[corpus], self.network.head_of(corpus)
            chosen = np.arange(len(part)) if sample is None else sample
            targets, share = part.targets[chosen], chosen[self.processes.share(len(chosen))]
            log_p = log_posteriors(self.network, dataset, head, self.device_config.device, share)
            log_p = self.processes.concatenate(log_p)
            confusion = confusion_matrix(targets, log_p.argmax(1), len(part.classes))
            loss = validation_loss(self.loss, log_p, targets, self.device_weights[corpus])
            valid[corpus] = {"loss": loss, **scores(confusion, np.exp(log_p), targets)}
        return valid

    def _validate(self, epoch: int) -> None:
        valid = self._scores(self.samples)
        monitored = float(np.mean([v["loss"] for v in valid.values()]))
        if not math.isfinite(monitored):
            raise InputError(
                f"the validation loss of epoch {epoch} is not a number",
                self.folder,
                "lower training.learning_rate (the last checkpoint is kept)",
            )
        self.stopping = self.stopping.after(epoch, monitored, self.config.min_delta)
        self.saved_states.add(monitored, self.network.state_dict())
        self.history.append(
            {
                "epoch": epoch,
                "step": self.step,
                "train_loss": {c: float(np.mean(losses)) for c, losses in self.losses.items() if losses},
                "valid_loss": monitored,
                "valid": valid,
                "best_epoch": self.stopping.best_epoch,
                "num_bad_epochs": self.stopping.num_bad_epochs,
            }
        )
        self.losses = {corpus: [] for corpus in self.corpora}
        if self.processes.is_main:
            write_text(self.folder / EPOCHS, "".join(json.dumps(row) + "\n" for row in self.history))

    def _chosen_epoch(self) -> int:
        """The epoch whose weights are saved (of averaged epochs, the best or the last)."""
        return self.stopping.best_epoch if self.config.keep == "best" else len(self.history)

    def _finished(self) -> bool:
        return len(self.history) >= self.config.max_epochs or self.stopping.num_bad_epochs >= self.config.patience

    # -- state --------------------------------------------------------------------------------------------------------

    def _purpose(self, *names: str) -> tuple[str | int, ...]:
        """Arguments of `derive_seed`."""
        return self.experiment.seed, self.experiment.fold, self.experiment.task, *names

    @property
    def _rank_purpose(self) -> tuple[str, ...]:
        """What makes the random numbers of several processes differ; empty for one process."""
        return (f"process {self.processes.rank}",) if self.processes.size > 1 else ()

    def _new_network(self) -> SpeechEmotionNetwork:
        torch.manual_seed(derive_seed(*self._purpose("weights")))
        network = build(self.experiment, self.heads)
        mean, deviation = fit_statistics(list(self.train.values()))
        network.mean.copy_(torch.from_numpy(mean))
        network.deviation.copy_(torch.from_numpy(deviation))
        return network.to(self.device_config.device)

    def _new_loss(self) -> torch.nn.Module:
        torch.manual_seed(derive_seed(*self._purpose("loss")))
        loss: torch.nn.Module = from_registry(LOSS, self.config.loss)(self.config)
        return loss.to(self.device_config.device)

    def _new_samplers(self) -> dict[str, Sampler]:
        frontend, batches = build_frontend(self.experiment), self.experiment.batches
        samples = round(batches.crop_seconds * frontend.sampling_rate)
        crop = max(1, frontend.num_frames(samples) // batches.frame_step)
        return {
            corpus: Sampler(dataset.frames, batches.batch_size, crop, self._purpose("batches", corpus))
            for corpus, dataset in self.train.items()
        }

    def _new_optimizer(self) -> torch.optim.Optimizer:
        """Adam with two learning rates: that of the front end, if it is trained, and that of everything else."""
        front = [] if self.network.front is None else [p for p in self.network.front.parameters() if p.requires_grad]
        front_ids = {id(p) for p in front}
        others = [p for p in self.network.parameters() if p.requires_grad and id(p) not in front_ids]
        groups: list[dict[str, Any]] = [
            {"params": [*others, *self.loss.parameters()], "rate": self.config.learning_rate},
            {"params": front, "rate": self.experiment.frontend.learning_rate},
        ]
        return torch.optim.Adam(groups, weight_decay=self.config.weight_decay, fused=True)

    def _fingerprint(self) -> str:
        """Digest of what must stay the same in a resumed training; with the precision that `auto` resolved to."""
        if not self.config.can_continue:
            return digest(self.hashes, self.device_config.precision)
        training = replace(self.config, max_epochs=1, patience=1)
        config_hash = digest(result_affecting(replace(self.experiment, training=training)))
        return digest({**self.hashes, "config_hash": config_hash}, self.device_config.precision)

    def _save_checkpoint_if_due(self) -> None:
        """Write a checkpoint after `checkpoint_seconds`, or after a signal, which ends all processes."""
        late = self.processes.is_main and time.monotonic() - self.checkpoint_time >= self.config.checkpoint_seconds
        number, due = divmod(self.processes.maximum(2 * (self.signal or 0) + late), 2)
        if number or due:
            self._save(self.seconds)
        if number:
            raise Interrupted(number)

    def _save(self, seconds: Sequence[float] = ()) -> None:
        """Write a checkpoint.

        Args:
            seconds: duration of each epoch; without them, the file does not depend on interruptions of the training.
        """
        if not self.processes.is_main:
            return
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        tensors |= {f"loss.{name}": tensor for name, tensor in self.loss.state_dict().items()}
        tensors |= {f"kept.{name}": tensor for name, tensor in self.saved_states.tensors().items()}
        tensors |= {f"optimizer.{k}": tensor for k, tensor in files.optimizer_tensors(self.optimizer).items()}
        files.save_tensors(
            self.checkpoint,
            tensors,
            {
                "fingerprint": self._fingerprint(),
                "code": self.code,
                "step": self.step,
                "stopping": asdict(self.stopping),
                "history": self.history,
                "losses": self.losses,
                "seconds": list(seconds),
            },
        )
        self.checkpoint_time = time.monotonic()

    def _restore(self) -> None:
        if not self.checkpoint.is_file():
            return
        tensors, meta = files.load_tensors(self.checkpoint)
        # The second fingerprint is that of earlier versions.
        if meta.get("fingerprint") not in (self._fingerprint(), digest(self.hashes, self.device_config.precision)):
            raise InputError(
                f"of other settings, data or split, or not in {self.device_config.precision}",
                self.checkpoint,
                f"remove {self.folder} to start again, or give another --exp folder",
            )
        try:
            state = files.with_new_names(of_kind(files.Progress, meta, ""))
            self.loss.load_state_dict(part_of(tensors, "loss."))
            self.saved_states.load(part_of(tensors, "kept."))
            if state["history"]:  # an epoch has ended: check that the saved states fit this network
                self.network.load_state_dict(self.saved_states.state())
            self.network.load_state_dict(part_of(tensors, "network."))
            files.restore_optimizer(self.optimizer, part_of(tensors, "optimizer."))
            self.stopping = EarlyStopping(**state["stopping"])
            if not all(isinstance(value, int | float) for value in state["stopping"].values()):
                raise TypeError(f"stopping = {state['stopping']}")
            self.losses = {corpus: state["losses"][corpus] for corpus in self.corpora}
        except (ValueError, LookupError, TypeError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"not of this training ({reason})", self.checkpoint, "remove it and run stage 4") from None
        self.code, self.step = list(dict.fromkeys([*state["code"], *self.code])), state["step"]
        self.history, self.seconds = state["history"], state["seconds"]

    def _remember(self, number: int, _: object) -> None:
        """Remember a signal until the end of the step."""
        self.signal = number

    # -- start and end ---------------------------------------------------------------------------------------------

    def _log_start(self) -> None:
        folder = self.folder if self.processes.is_main else None
        self.logger = TrainingLogger(folder, self.config, self.history, self.seconds, self.echo)
        if self.step:
            self.logger.log(f"continued from {self.checkpoint} at step {self.step}")
        for text in self.warnings:
            self.logger.log(f"warning: {text}")
        self.logger.log_parts({"train": self.train, "valid": self.valid})
        for corpus, sample in self.samples.items():
            if sample is not None:
                self.logger.log(f"valid {corpus}: {len(sample)} utterances after each epoch, all at the end")
        parameters = sum(p.numel() for p in self.network.parameters())
        processes = f", in {self.processes.size} processes" if self.processes.size > 1 else ""
        self.logger.log(
            f"{parameters:,} parameters on {self.device_config.device}, {self.device_config.precision}, "
            f"{self.device_config.threads} threads{processes}"
        )

    def _finish(self) -> None:
        """Write train.json and the last checkpoint, then the saved model, whose presence marks the training as done."""
        valid = self.history[self._chosen_epoch() - 1]["valid"]
        if any(sample is not None for sample in self.samples.values()):
            last = {name: tensor.to("cpu", copy=True) for name, tensor in self.network.state_dict().items()}
            self.network.load_state_dict(self.saved_states.state())
            valid = self._scores(dict.fromkeys(self.valid))
            self.network.load_state_dict(last)
            text = ", ".join(f"{corpus} {scores_text(values, ' ')}" for corpus, values in valid.items())
            self.logger.log(f"validation on all utterances: {text}")
        if not self.processes.is_main:
            return
        if self.seconds:
            seconds = round(median(self.seconds), 2)
        else:  # all epochs were over before, and the last checkpoint does not have their durations
            seconds = read_json(self.folder / TRAIN)["seconds_per_epoch"]
        model = files.tensor_bytes(self.saved_states.state(), {**self.hashes, "classes": self.network.classes})
        sums = {
            MODEL: hashlib.sha256(model).hexdigest(),
            EPOCHS: sha256(self.folder / EPOCHS),
        }
        write_record(
            self.folder / TRAIN,
            {
                **self.hashes,
                "chosen_epoch": self._chosen_epoch(),
                "epochs": len(self.history),
                "updates": {c: int((self.corpus_schedule[: self.step] == i).sum()) for i, c in enumerate(self.corpora)},
                "class_counts": {c: s.part.class_counts.tolist() for c, s in self.train.items()},
                "class_weights": {c: [float(v) for v in w] for c, w in self.weights.items()},
                "seconds_per_epoch": seconds,
                "valid": valid,
                **self.provenance,
                "code_hashes": self.code,
                "machine": {
                    "device": str(self.device_config.device),
                    "precision": self.device_config.precision,
                    "threads": self.device_config.threads,
                    "processes": self.processes.size,
                },
            },
            sums,
        )
        if self.keep_checkpoint:
            self._save()
        with atomic_path(self.folder / MODEL) as temporary:
            temporary.write_bytes(model)
        checkpoints = [] if self.keep_checkpoint else [self.checkpoint]
        for path in (*checkpoints, *self.folder.glob(".tmp*")):  # also temporary files of killed runs
            path.unlink(missing_ok=True)
        self.logger.log(
            f"stopped after {len(self.history)} epochs; kept epoch {self._chosen_epoch()}; least validation loss "
            f"{self.stopping.best:.4f} in epoch {self.stopping.best_epoch}"
        )
        self.logger.end()
