#!/usr/bin/env python3
"""Stage 0 (--download true) and stage 1 of any corpus."""

import sys

from ser.corpora.main import main

if __name__ == "__main__":
    sys.exit(main())
