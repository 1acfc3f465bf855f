"""Forward passes in which every edge of the graph can be removed, gated or differentiated.

Names are loaded when they are first used: planning a search's memory takes no torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
