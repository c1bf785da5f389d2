"""Front ends: samples to frames of features, each behind one interface and in one registry."""

from ser.config import Experiment
from ser.config.registry import FRONTENDS, built
from ser.frontends.base import Frontend

__all__ = ["Frontend", "build_frontend"]


def build_frontend(experiment: Experiment) -> Frontend:
    """The front end of an experiment.

    Raises:
        InputError: a model that is absent or of the wrong kind, or a layer that it does not have.
    """
    frontend: Frontend = built(FRONTENDS, experiment.frontend.name)(experiment.features, experiment.frontend)
    return frontend
