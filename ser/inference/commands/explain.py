"""ser explain."""

from __future__ import annotations

import argparse
from pathlib import Path

from ser.inference.commands import add_head


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("model", type=Path, help="model package, as `ser pack` makes it")
    parser.add_argument("file", type=Path, help="audio file")
    parser.add_argument("--out", type=Path, required=True, help="picture to write (.png, .pdf or .svg)")
    add_head(parser)


def run(options: argparse.Namespace) -> int:
    """Draw the picture and print the answer."""
    import sys

    from ser.common.pictures import check_picture

    check_picture(options.out)
    from ser.inference.explain import draw_explanation, explain
    from ser.inference.model import open_model
    from ser.inference.predict.outputs import check_not_in
    from ser.inference.predictor import Predictor

    check_not_in(options.out, options.model)
    predictor = Predictor(open_model(options.model), options.head)
    if predictor.statistics:
        kind = predictor.normalisation
        text = f"warning: trained with {kind} statistics, in place of which those of the training are used"
        print(text, file=sys.stderr)
    explanation = explain(predictor, options.file)
    best = int(explanation.posteriors.argmax())
    answer = f"{predictor.classes[best]} {100 * explanation.posteriors[best]:.0f} %"
    draw_explanation(explanation, predictor, f"{options.file.name}: {answer}", options.out)
    print(f"{options.out}: {answer}")
    return 0
