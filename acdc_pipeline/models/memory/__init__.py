"""Models that the caller holds in memory: their identity, and copies that leave them as they are.

Names are loaded on first use: a reference to a model needs no torch.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
