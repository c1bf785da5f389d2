#!/usr/bin/env python3
"""What prepared corpora hold: speakers, classes, hours, durations; counts and speakers by split, fold and part."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # launchers of clusters pass PATH alone

from ser.common import guarded
from ser.common.cli import Parser


@guarded
def main() -> None:
    """Print the tables, and draw them."""
    parser = Parser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="+", help="where stage 1 wrote a corpus, such as data/ravdess")
    parser.add_argument("--split", help="describe that split alone, such as strict")
    parser.add_switch("--markdown", help="print Markdown")
    parser.add_argument("--out", type=Path, help="picture to write (.png, .pdf or .svg)")
    options = parser.parse_args()
    from ser.corpora.describe import describe_corpora, draw_corpora, read_prepared

    corpora = [read_prepared(folder, options.split) for folder in options.folder]
    if options.out:
        draw_corpora(corpora, options.out)
    print(describe_corpora(corpora, "github" if options.markdown else "simple"))


if __name__ == "__main__":
    sys.exit(main())
