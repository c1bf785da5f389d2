"""The network of da Silva et al. (2020): one trunk, one linear head a task."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from ser.batches.load import UNIFIED
from ser.config import Experiment, Network
from ser.config.registry import POOLING, TEMPORAL, from_registry
from ser.frontends import build_frontend
from ser.frontends.preprocess import valid_mask
from ser.nets.adapter import Adapter
from ser.nets.adversarial import DomainHead
from ser.nets.fast import Dropout

# Temporal blocks that take the features directly (da Silva et al. 2020).
WITHOUT_PREP = {"tdnn", "nin", "attention"}


class Answering(nn.Module):
    """What a model answers by: heads over pooled vectors.

    Attributes:
        classes: head name -> its class list, in the order of its outputs.
    """

    classes: dict[str, tuple[str, ...]]

    def head_adapter_pairs(self) -> dict[str, tuple[str, str]]:
        """What may answer: its name -> (head, corpus whose adapter is used).

        A name is that of a head; or, where one head serves all and each corpus has an adapter, of a corpus.
        """
        return {head: (head, head) for head in self.classes}

    def embed(self, features: Tensor, lengths: Tensor) -> Tensor:
        """(batch, frames, bins) and lengths of at least 1 to pooled vectors, (batch, pooled)."""
        raise NotImplementedError

    def posteriors(self, pooled: Tensor, head: str, corpus: str) -> Tensor:
        """Pooled vectors to posteriors of one head, (batch, classes)."""
        raise NotImplementedError

    def average(self, pooled: Tensor, pairs: Sequence[tuple[str, str]], classes: Sequence[str]) -> Tensor:
        """Mean over (head, corpus) pairs of their posteriors of some classes, (batch, classes), rows that sum to 1.

        A head that does not know a class gives it 0; what it gives to others than `classes` is left out.
        """
        answers = [(self.classes[head], self.posteriors(pooled, head, corpus)) for head, corpus in pairs]
        found = []
        for names, posteriors in answers:
            # (classes of the head, classes), one where the names are the same.
            same = [[float(one == other) for other in classes] for one in names]
            found.append(posteriors @ torch.tensor(same).to(posteriors.device))
        total = torch.stack(found).sum(0)
        return total / total.sum(1, keepdim=True)


class SpeechEmotionNetwork(Answering):
    """Normalise, layers that are trained, layer weights, pre-net (not before a TDNN), encoder, pooling, heads.

    Args:
        bins: features a frame, those of all layers of the front end.
        layers: of the front end.
        front: the layers of the front end that are trained, as of `Frontend.trainable`; None where it is frozen.
        heads: head name -> its class list, in the order of its outputs.
        corpora: those that get an adapter of their own, where the settings ask for adapters.
        auxiliaries: heads that only training uses: "gender", "domain" (which corpus, behind a reversed gradient).
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        bins: int,
        temporal: str,
        pooling: str,
        config: Network,
        heads: Mapping[str, Sequence[str]],
        corpora: Sequence[str],
        auxiliaries: Collection[str] = (),
        layers: int = 1,
        front: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.front = front
        self.register_buffer("mean", torch.zeros(bins))
        self.register_buffer("deviation", torch.ones(bins))
        if front is not None:
            bins, layers = cast(int, front.width), cast(int, front.layers)
        prep: list[nn.Module] = []
        self.layer_weights = LayerWeights(layers) if layers > 1 and config.layers == "weighted" else None
        size = bins if self.layer_weights is None else bins // layers
        for _ in range(0 if temporal in WITHOUT_PREP else config.prep_layers):
            prep += [nn.Linear(size, config.prep_size), nn.ReLU(), Dropout(config.prep_dropout)]
            size = config.prep_size
        self.prep = nn.Sequential(*prep)
        self.temporal: nn.Module = from_registry(TEMPORAL, temporal)(size, config)
        self.dropout = Dropout(config.dropout)
        self.pooling: nn.Module = from_registry(POOLING, pooling)(cast(int, self.temporal.out_size))
        size = cast(int, self.pooling.out_size)
        self.pooled_norm = nn.BatchNorm1d(size) if config.pooled_norm == "batch" else nn.Identity()
        self.head_dropout = Dropout(config.head_dropout)
        self.adapters = nn.ModuleDict(
            {corpus: Adapter(size, config.adapter_size) for corpus in corpora if config.adapter_size}
        )
        self.pooled_size = size
        self.classes = {name: tuple(classes) for name, classes in heads.items()}
        self.heads = nn.ModuleDict({name: nn.Linear(size, len(classes)) for name, classes in heads.items()})
        self.corpora = list(corpora)
        self.gender = nn.Linear(size, 2) if "gender" in auxiliaries else None
        self.domain = DomainHead(size, len(corpora)) if "domain" in auxiliaries else None

    def head_of(self, corpus: str) -> str:
        """The head that classifies a corpus: its own, or the one that serves all."""
        return UNIFIED if UNIFIED in self.classes else corpus

    @property
    def some_idle(self) -> bool:
        """Whether a batch, which is of one corpus, may leave heads or adapters idle."""
        return len(self.heads) > 1 or len(self.adapters) > 1 or self.gender is not None

    def embed(self, features: Tensor, lengths: Tensor) -> Tensor:
        """(batch, frames, bins) and lengths of at least 1 to pooled float32 vectors, (batch, pooled)."""
        return self.regularised(self.pooled(features, lengths))

    def pooled(self, features: Tensor, lengths: Tensor) -> Tensor:
        """The same before batch normalisation and dropout."""
        found: Tensor = self.pooling(*self.frames(features, lengths))
        return found.float()

    def regularised(self, pooled: Tensor) -> Tensor:
        """Pooled vectors after batch normalisation and dropout, where the settings ask for these, (batch, pooled)."""
        found: Tensor = self.head_dropout(self.pooled_norm(pooled))
        return found

    def frames(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The same to what is pooled, (batch, frames, size), and its lengths."""
        x = (features - self.mean) / self.deviation * valid_mask(features, lengths)[..., None]
        if self.front is not None:
            x, lengths = self.front(x, lengths)
            x = x * valid_mask(x, lengths)[..., None]
        if self.layer_weights is not None:
            x = self.layer_weights(x)
        return self.dropout(self.temporal(self.prep(x), lengths)), lengths

    def forward(self, features: Tensor, lengths: Tensor, head: str, corpus: str) -> Tensor:
        """Logits of one head, float32, (batch, classes)."""
        return self.classify(self.embed(features, lengths), head, corpus)

    def classify(self, pooled: Tensor, head: str, corpus: str) -> Tensor:
        """Pooled vectors to logits of one head, through the adapter of the corpus where it has one."""
        with torch.autocast(pooled.device.type, enabled=False):
            if corpus in self.adapters:
                pooled = self.adapters[corpus](pooled)
            return self.heads[head](pooled)

    def head_adapter_pairs(self) -> dict[str, tuple[str, str]]:
        if UNIFIED in self.classes and len(self.adapters):
            return {corpus: (UNIFIED, corpus) for corpus in self.corpora}
        return super().head_adapter_pairs()

    def posteriors(self, pooled: Tensor, head: str, corpus: str) -> Tensor:
        return torch.softmax(self.classify(pooled, head, corpus), dim=1)


class LayerWeights(nn.Module):
    """Layers of a pretrained front end as one: their sum, weighted by a softmax over learned scalars, even at first.

    Yang et al. (2021), SUPERB.
    """

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(layers))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, frames, layers * dim), layers side by side, to (batch, frames, dim)."""
        weights = torch.softmax(self.scores, dim=0)
        # Not by unflatten, which ONNX export writes with the batch and frames of its example.
        return (x.reshape(*x.shape[:2], len(weights), -1) * weights[:, None]).sum(2)


def build(experiment: Experiment, heads: Mapping[str, Sequence[str]]) -> SpeechEmotionNetwork:
    """The network of an experiment, with weights from torch's random state."""
    frontend = build_frontend(experiment)
    return SpeechEmotionNetwork(
        frontend.width,
        experiment.temporal,
        experiment.pooling,
        experiment.network,
        heads,
        experiment.corpora,
        {
            *(["gender"] if experiment.training.gender_weight else []),
            *(["domain"] if experiment.training.adversarial_weight else []),
        },
        frontend.layers,
        frontend.trainable(),
    )
