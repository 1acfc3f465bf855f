"""Automated circuit discovery as a distributed pipeline.

    from acdc_pipeline import discover

    circuit = discover("ioi", "zoo:gpt2-4l-s0", threshold=0.01)
    circuit.strongest(3), circuit.metrics["kl"]
    circuit.draw().save("ioi.svg")

Names are loaded when they are first used: importing the package alone loads nothing heavy.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
