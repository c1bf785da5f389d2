"""Whether statistics of a speaker may be removed from the features of a corpus."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ser.common import InputError
from ser.common.once import parsed_once
from ser.corpora.confounding import Confounding, confounding
from ser.corpora.cuts import read_cuts


def confounded(data_root: Path, corpora: Iterable[str], normalisation: str) -> dict[str, str]:
    """Corpus -> figures, of those where normalisation by speaker takes the classes away.

    Args:
        data_root: what stage 1 wrote.
        normalisation: as in conf/batches.yaml; {} for any but speaker.
    """
    if normalisation != "speaker":
        return {}
    found = {corpus: _read_confounding(data_root / corpus / "cuts.jsonl.gz") for corpus in corpora}
    return {corpus: str(measured) for corpus, measured in found.items() if measured.is_confounded}


@parsed_once
def _read_confounding(path: Path) -> Confounding:
    return confounding((cut.speaker, cut.emotion) for cut in read_cuts(path))


def check_confounded(data_root: Path, corpora: Iterable[str], normalisation: str, allow: bool) -> None:
    """Refuse to normalise such a corpus by speaker.

    Raises:
        InputError: unless `allow`.
    """
    for corpus, figures in confounded(data_root, corpora, normalisation).items():
        if not allow:
            raise InputError(
                f"the classes of {corpus} follow from its speakers ({figures}), so that statistics of a "
                "speaker take away what is to be recognised",
                "batches.normalisation = speaker",
                (
                    "give another normalisation, as --preset strong_global or pretrained_global or "
                    "--batches.normalisation global, or go on with --allow-confounded true"
                ),
            )
