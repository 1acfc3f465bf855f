"""Names of the sources of a residual stream.

Those that are nodes of the graph have the names of nodes: `a0.h3`, `m0`, `r0`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from acdc_pipeline.graph import Node

TOKEN: Final = "token"
"""The token embedding."""

POSITION: Final = "position"
"""The position embedding."""

BIAS: Final = "bias"
"""The biases of attention outputs, of the norm before a slot, and of the slot."""

DISTANCE: Final = "distance"
"""Where a key is relative to the query: rotation of the mean key, and ALiBi."""

REST: Final = "rest"
"""All sources that are not named."""

NOT_NODES: Final = (TOKEN, POSITION, BIAS, DISTANCE, REST)
"""All of these names."""


@lru_cache(maxsize=10_000)
def parse_source(name: Any) -> str:
    """Return the name of a source.

    Raises:
        GraphError: it is neither one of `NOT_NODES` nor a node.
    """
    return str(name) if name in NOT_NODES else str(Node.parse(str(name)))
