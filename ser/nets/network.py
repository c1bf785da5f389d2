"""The network of da Silva et al. (2020): one trunk, and a linear head for each task."""

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

# Temporal blocks without a pre-net (da Silva et al. 2020).
WITHOUT_PRENET = {"tdnn", "nin", "attention"}


class Answering(nn.Module):
    """Heads over pooled vectors: the interface of networks, ensembles and SVMs.

    Attributes:
        classes: head name -> its class list, in the order of its outputs.
    """

    classes: dict[str, tuple[str, ...]]

    def head_adapter_pairs(self) -> dict[str, tuple[str, str]]:
        """Name -> (head, corpus whose adapter is used).

        Names are those of heads; if one head serves all corpora and each has an adapter, those of corpora.
        """
        return {head: (head, head) for head in self.classes}

    def embed(self, features: Tensor, lengths: Tensor) -> Tensor:
        """(batch, frames, bins) and lengths of at least 1 to pooled vectors, (batch, pooled)."""
        raise NotImplementedError

    def posteriors(self, pooled: Tensor, head: str, corpus: str) -> Tensor:
        """Posteriors of one head, (batch, classes), from pooled vectors."""
        raise NotImplementedError

    def average(self, pooled: Tensor, pairs: Sequence[tuple[str, str]], classes: Sequence[str]) -> Tensor:
        """Mean posteriors of (head, corpus) pairs, (batch, classes), in rows that sum to 1.

        A head that does not know a class gives it 0; its posteriors of classes outside `classes` are left out.
        """
        parts = []
        for head, corpus in pairs:
            posteriors = self.posteriors(pooled, head, corpus)
            # (classes of the head, classes), 1 for equal names.
            same = [[float(one == other) for other in classes] for one in self.classes[head]]
            parts.append(posteriors @ torch.tensor(same).to(posteriors.device))
        total = torch.stack(parts).sum(0)
        return total / total.sum(1, keepdim=True)


class SpeechEmotionNetwork(Answering):
    """Global CMVN, trained front-end layers, layer weights, pre-net (not before a TDNN), encoder, pooling, heads.

    Args:
        bins: features of a frame, of all layers of the front end.
        layers: of the front end.
        front: trained layers of the front end, as of `Frontend.trainable`; None: it is frozen.
        heads: head name -> its class list, in the order of its outputs.
        corpora: each gets an adapter, if the settings ask for adapters.
        auxiliaries: heads for training alone: "gender", "domain" (the corpus, with a reversed gradient).
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
        for _ in range(0 if temporal in WITHOUT_PRENET else config.prep_layers):
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
        """The head of a corpus: its own, or the one that serves all."""
        return UNIFIED if UNIFIED in self.classes else corpus

    @property
    def some_idle(self) -> bool:
        """Whether a batch, which is of one corpus, may leave heads or adapters without a gradient."""
        return len(self.heads) > 1 or len(self.adapters) > 1 or self.gender is not None

    def embed(self, features: Tensor, lengths: Tensor) -> Tensor:
        """(batch, frames, bins) and lengths of at least 1 to pooled float32 vectors, (batch, pooled)."""
        return self.regularised(self.pooled(features, lengths))

    def pooled(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Pooled vectors before batch normalisation and dropout, float32, (batch, pooled)."""
        return cast(Tensor, self.pooling(*self.frames(features, lengths))).float()

    def regularised(self, pooled: Tensor) -> Tensor:
        """Pooled vectors after batch normalisation and dropout, if the settings ask for these, (batch, pooled)."""
        return cast(Tensor, self.head_dropout(self.pooled_norm(pooled)))

    def frames(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The frames that are pooled, (batch, frames, size), and their lengths."""
        x = (features - self.mean) / self.deviation * valid_mask(features, lengths)[..., None]
        if self.front is not None:
            x, lengths = self.front(x, lengths)
            x = x * valid_mask(x, lengths)[..., None]
        if self.layer_weights is not None:
            x = self.layer_weights(x)
        return self.dropout(self.temporal(self.prep(x), lengths)), lengths

    def forward(self, features: Tensor, lengths: Tensor, head: str, corpus: str) -> Tensor:
        """Logits of one head, float32, (batch, classes), with the adapter of the corpus if it has one."""
        return self.classify(self.embed(features, lengths), head, corpus)

    def classify(self, pooled: Tensor, head: str, corpus: str) -> Tensor:
        """Pooled vectors to logits of one head, with the adapter of the corpus if it has one."""
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
    """Weighted sum of the layers of a pretrained front end (Yang et al. 2021, SUPERB).

    Weights are a softmax over learned scalars, and equal before training.
    """

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(layers))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, frames, layers * dim), layers side by side, to (batch, frames, dim)."""
        weights = torch.softmax(self.scores, dim=0)
        # No unflatten: ONNX export would fix the batch size and frames of its example.
        return (x.reshape(*x.shape[:2], len(weights), -1) * weights[:, None]).sum(2)


def build(experiment: Experiment, heads: Mapping[str, Sequence[str]]) -> SpeechEmotionNetwork:
    """The network of an experiment, with weights from torch's random state."""
    frontend, training = build_frontend(experiment), experiment.training
    weights = {"gender": training.gender_weight, "domain": training.adversarial_weight}
    return SpeechEmotionNetwork(
        frontend.width,
        experiment.temporal,
        experiment.pooling,
        experiment.network,
        heads,
        experiment.corpora,
        {name for name, weight in weights.items() if weight},
        frontend.layers,
        frontend.trainable(),
    )
