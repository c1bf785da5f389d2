#!/usr/bin/env python3
"""Stage 0 (--download true) and stage 1 of any corpus; --check true lists what is wrong with it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # launchers of clusters pass PATH alone

from ser.corpora.main import main

if __name__ == "__main__":
    sys.exit(main())
