"""Front ends: samples to frames of features, each behind one interface and in one registry."""

from functools import lru_cache

from ser.config import Experiment, Features, FrontendSettings
from ser.config.registry import FRONTENDS, from_registry
from ser.frontends.base import Frontend

__all__ = ["Frontend", "build_frontend"]


def build_frontend(experiment: Experiment) -> Frontend:
    """The front end of an experiment.

    Raises:
        InputError: a model that is absent or of the wrong kind, or a layer that it does not have.
    """
    return _build(experiment.features, experiment.frontend)


@lru_cache(maxsize=4)  # weights are read once
def _build(features: Features, settings: FrontendSettings) -> Frontend:
    frontend: Frontend = from_registry(FRONTENDS, settings.name)(features, settings)
    return frontend
