"""Plain data as text that our reader of YAML reads as exactly that data."""

from __future__ import annotations

import json
import re
from typing import Any

# JSON may hold these as they are; YAML refuses some and folds others into blanks.
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def yaml_text(data: Any) -> str:
    """`data` as JSON, which is YAML with every text in quotes.

    PyYAML's own writer follows YAML 1.1, which leaves `1e-3` bare because it is no number there.
    """
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)
    return _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n"
