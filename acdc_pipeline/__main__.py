"""Entry point of the command `acdc` and of `python -m acdc_pipeline`."""

from __future__ import annotations

import sys

from acdc_pipeline.cli.terminal.interrupts import install_interrupt_handler


def main() -> int:
    """Run the command line of this process and return its exit code."""
    install_interrupt_handler()
    from acdc_pipeline.cli.main import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
