"""Models: the only place where torch meets TransformerLens; the rest of the package sees tensors.

Names are loaded on first use, so that listing the zoo needs no torch.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
