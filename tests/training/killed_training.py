"""A training that kills itself with SIGKILL at a given point: a program for test_kill.py."""

import os
import signal
import sys
from pathlib import Path

from made import Made

import ser.training.checkpoint
import ser.training.engine
from ser.training import Trainer


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(root: str, folder: str, place: str, count: int) -> None:
    made, calls = Made(Path(root)), 0
    experiment = made.experiment("training.checkpoint_seconds=1e-9")
    data = made.open(experiment)
    trainer = Trainer(experiment, Path(folder), data.heads, data.parts("train"), data.parts("valid"), data.hashes())

    def counted(function, before=None):
        """Run `function`, but at call number `count` run `before` in its place and die."""

        def run(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == count:
                if before:
                    before(*args, **kwargs)
                die()
            return function(*args, **kwargs)

        return run

    if place == "step":  # between the gradients and their use
        trainer.optimizer.step = counted(trainer.optimizer.step)
    elif place == "validation":
        ser.training.engine.log_posteriors = counted(ser.training.engine.log_posteriors)
    elif place == "checkpoint":  # half of it is written
        write = Path.write_bytes

        def half(path, data):
            write(path, data[: len(data) // 2])

        Path.write_bytes = counted(write, half)
    elif place == "epochs":
        ser.training.engine.write_text = counted(ser.training.engine.write_text)
    elif place == "end":  # train.json is there, the model is not
        ser.training.engine.write_record = counted(ser.training.engine.write_record, ser.training.engine.write_record)
    trainer.run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
