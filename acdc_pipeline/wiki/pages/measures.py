"""The value of a score in words."""

from __future__ import annotations

import numpy as np

from acdc_pipeline.heads.habits import HABITS
from acdc_pipeline.specs.head_scores import parse_metric
from acdc_pipeline.wiki.models import HeadIndex, Model
from acdc_pipeline.wiki.text import format_fixed, format_signed

_OF_ATTENTION = "{value} of its attention"

MEASURES = {
    **dict.fromkeys((*HABITS, "attention_to_repeat"), _OF_ATTENTION),
    "attention_to_answer": "{value} of its attention on the answer",
    "attention_to_answer_before": "{value} of its attention on the answer before a wrong one",
    "attention_to_answer_after": "{value} of its attention on the answer after a wrong one",
    "answer_reading": "{signed} to the logit of the answer over wrong ones by what it reads there",
    "direct_effect": "{signed} to the logit of the answer over wrong ones",
    "query_effect": "{signed} to the logit of the answer over wrong ones through those queries",
    "copy_attribution": "{signed} to the next token’s logit",
    "anti_induction": "takes {value} from the next token’s logit",
    "copy_at_5": "for {value} of all tokens",
    "suppress_at_5": "for {value} of all tokens",
    "successor": "for {value} of the words of ordered lists",
    "relation": "for {value} of the pairs",
    "backup_induction": "{signed} to the next token’s logit then",
    "backup_previous_token": "{signed} of attention then",
    "backup_duplicate_token": "{signed} of attention then",
    "backup_mover": "{signed} to the logit of the answer over wrong ones then",
}
"""The value of a score in words. Sentences leave out scores that are not here."""


def measure(model: Model, place: HeadIndex, metric: str, template: str | None = None) -> str:
    """Say a score of a head: `0.70 ± 0.04 of its attention`; empty if it has none.

    The number after ± is half of the length of the bootstrap interval.
    """
    template = template or MEASURES.get(parse_metric(metric)[0])
    score = model.scores.get(metric)
    if template is None or score is None or np.isnan(value := float(score.values[place])):
        return ""
    half = float(score.high[place] - score.low[place]) / 2
    spread = "" if np.isnan(half) else f" ± {format_fixed(half)}"
    return template.format(value=format_fixed(value) + spread, signed=format_signed(value) + spread)
