"""`python -m acdc_pipeline` is the command `acdc`."""

from __future__ import annotations

import sys

from acdc_pipeline.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
