"""Read what pages and data shards of the wiki say, for the comparison with the store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROUNDING = 0.006
"""Half of the last digit shown, and a little for the digits stored."""

PLACES = {
    "the token that followed the current one before": "induction",
    "the earlier occurrence of the current token": "duplicate_token",
    "the token before the current one": "previous_token",
    "the current token itself": "current_token",
    "the first token": "sink",
    "the right answer": "attention_to_answer",
    "the last mention of the repeated name": "attention_to_repeat",
    "effect on the logit of the answer over wrong ones": "direct_effect",
}
"""What pages call the places that scores are about."""


def read_shard(path: Path) -> Any:
    """Return the data of a script that a page loads."""
    content = path.read_text(encoding="ascii")
    return json.loads(content[content.index(",") + 1 : content.rindex(")")])


def read_number(text: str) -> float:
    """Return a number as a page shows it: `−0.25`, `+3`, `1,024`, `56 %` as 0.56."""
    text = text.replace("−", "-").replace("+", "").replace(",", "").strip()
    return float(text[:-1]) / 100 if text.endswith("%") else float(text)


def differs(shown: float, value: float) -> bool:
    """Whether a number is not `value` as it is shown, with three digits at least."""
    return abs(shown - value) > ROUNDING + 1e-3 * abs(value)
