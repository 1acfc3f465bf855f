"""Names of the sources of a residual stream that are no nodes of the graph.

Sources that are nodes have the names of nodes: `a0.h3`, `m0`, `r0`.
"""

from __future__ import annotations

from typing import Final

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

NOT_NODES: Final = {
    TOKEN: "its token",
    POSITION: "its position",
    DISTANCE: "how far away it is",
    BIAS: "biases",
    REST: "other sources",
}
"""What each is called in a sentence about a key."""
