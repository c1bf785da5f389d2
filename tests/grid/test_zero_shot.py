"""What a model answers for a corpus that it has not seen."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import refuses
from made import Made
from torch import Tensor

from ser.batches import UtteranceDataset
from ser.grid.run import Runner
from ser.nets import SpeechEmotionNetwork
from ser.nets.network import Answering
from ser.scoring.decode import mean_posteriors

CPU = torch.device("cpu")


class Fixed(Answering):
    """A network whose heads answer the same whatever they hear."""

    posteriors = SpeechEmotionNetwork.posteriors

    def __init__(self, heads: dict[str, dict[str, float]]) -> None:
        super().__init__()
        self.classes = {head: tuple(found) for head, found in heads.items()}
        self.answers = {head: torch.tensor([list(found.values())]).log() for head, found in heads.items()}
        self.adapters: list[str] = []

    def embed(self, features: Tensor, lengths: Tensor) -> Tensor:
        return features[:, 0]

    def classify(self, pooled: Tensor, head: str, corpus: str) -> Tensor:
        self.adapters.append(corpus)
        return self.answers[head].expand(len(pooled), -1)


@pytest.fixture
def view(made: Made) -> UtteranceDataset:
    experiment = made.experiment(corpora="one")
    return UtteranceDataset(made.open(experiment).parts("test")["one"], experiment.batches)


def test_it_is_the_mean_of_its_heads_by_the_names_of_their_classes(view: UtteranceDataset) -> None:
    network = Fixed(
        {
            "a": {"sad": 0.1, "neutral": 0.2, "happy": 0.3, "angry": 0.4},
            "b": {"angry": 0.7, "happy": 0.1, "neutral": 0.1, "sad": 0.1},
        }
    )
    found = mean_posteriors(network, view, CPU)
    assert view.part.classes == ("angry", "happy", "neutral", "sad")
    np.testing.assert_allclose(found, [[0.55, 0.2, 0.15, 0.1]] * len(view), atol=1e-6)
    assert found.dtype == np.float32
    assert set(network.adapters) == {"a", "b"}  # each head behind the adapter of its own corpus


def test_classes_that_only_one_side_has_are_passed_over(view: UtteranceDataset) -> None:
    network = Fixed({"a": {"calm": 0.5, "sad": 0.3, "angry": 0.2}, "b": {"sad": 0.6, "bored": 0.4}})
    # sad 0.3 + 0.6, angry 0.2, of 1.1 in all
    np.testing.assert_allclose(
        mean_posteriors(network, view, CPU), [[0.2 / 1.1, 0, 0, 0.9 / 1.1]] * len(view), atol=1e-6
    )


def test_a_model_without_any_of_the_classes_is_refused(view: UtteranceDataset) -> None:
    network = Fixed({"a": {"calm": 0.5, "tense": 0.5}})
    with refuses("none of its classes (angry, happy, neutral, sad) is one of the model's", where="one"):
        mean_posteriors(network, view, CPU)


def test_a_corpus_with_speakers_of_the_training_is_not_unseen(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two readings of one corpus: what a model was trained on is never called unseen."""
    runner = Runner(SimpleNamespace(root=made.recipe, unseen=lambda _: ["other"], alone=lambda e, _: e), "a")
    data = made.open(made.experiment(corpora="one"))
    part = data.parts("test")["one"]
    for speakers, expected in ((["one4"], {"other": "one4 is a speaker of one, too"}), (["else"], {})):
        strange = replace(part, corpus="other", speakers=speakers * len(part))
        samples = {"other": {"test": dict.fromkeys(strange.ids, "of its own")}}
        other = SimpleNamespace(parts=lambda _, found=strange: {"other": found}, samples=samples)
        monkeypatch.setattr(runner, "data", lambda _, found=other: found)
        others, left_out = runner._others(data)
        assert left_out == expected
        assert list(others) == ([] if expected else ["other"])
