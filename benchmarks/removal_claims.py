"""Compare what pages say of direct effects and of removal with the scores that the store holds.

Part of `python -m benchmarks.wiki_claims`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from benchmarks.wiki_reading import ROUNDING, read_number

ABLATIONS = {
    "Replacing its output by its mean": "mean_ablation",
    "Setting its output to zero": "zero_ablation",
}
REMOVAL = r"(\w+ its output \w+ (?:its mean|zero)) (costs|adds) (?:only )?(\S+)"
DIRECT = ("adds to the right one directly", "raises it directly", "lowers it directly")
"""What sentences say of heads with a direct effect on the answer."""

Row = dict[str, Any]
"""A row of `heads.parquet`."""


def check_effects(
    sentence: str, rows: dict[str, Row], profiles: list[dict[str, Any]]
) -> Iterator[str]:
    """What a sentence on a task says of ways and of removal, from direct effects and ablations."""
    on = re.search(r"; seen on (.*?), ", sentence)
    if on is None or not any(key.endswith(f":{on[1]}") for key in rows):
        return

    def value(score: str, of: str = "value") -> float:
        row = rows.get(f"{score}@1:{on[1]}")
        return float("nan") if row is None or row[of] is None else row[of]

    direct, reading = value("direct_effect"), value("answer_reading")
    if "brings it there" in sentence:
        if not reading > 0:
            yield f"brings the answer, but reading it has an effect of {reading}"
        if ("there for later layers;" in sentence) != (direct < reading / 2):
            yield f"way of the effect: {direct} of {reading} is direct"
    looked = value("attention_to_answer")
    if ("without looking at it" in sentence) and not looked < 0.1:
        yield f"looks at the answer with {looked}"
    lost = [abs(value(name)) for name in ABLATIONS.values() if value(name) == value(name)]
    is_direct = any(says in sentence.partition(";")[0] for says in DIRECT)
    ends = [abs(value(name, of)) for name in ABLATIONS.values() for of in ("ci_low", "ci_high")]
    most = max([*lost, *(end for end in ends if not math.isnan(end))], default=0.0)
    small = is_direct and bool(lost) and most < abs(direct) / 2
    if small != ("makes up for" in sentence) or small != (" only " in sentence):
        yield f"removal changes {lost}, the direct effect is {direct}"
    said = re.search(REMOVAL, sentence)
    if said is None:
        if lost:
            yield "does not say what removing it costs"
        return
    if abs(_removed(said) - value(ABLATIONS[said[1]])) > ROUNDING:
        yield f"{said[0]!r}, but {ABLATIONS[said[1]]} is {value(ABLATIONS[said[1]])}"
    through = is_direct and abs(value(ABLATIONS[said[1]])) > 2 * abs(direct)
    if through != ("most of it through later" in sentence):
        yield f"{said[0]!r}, the direct effect is {direct}"
    whole = re.search(r"(?:costs|adds) [^,]* logit of ([\d.,]+?)[.,]( most.*)?$", sentence)
    if whole is not None:
        yield from _check_whole(whole[1], on[1], profiles)


def check_dearest(
    sentence: str, values: dict[str, float], profiles: list[dict[str, Any]]
) -> Iterator[str]:
    """The task on which removal is said to cost most, and what it costs there."""
    dear = re.search(
        rf"{REMOVAL}.*? logit of (\S+) on (\S+?)(?:, the most of \d+ tasks)?\.$", sentence
    )
    if dear is not None:
        how, task = ABLATIONS[dear[1]], dear[5]
        logits = {p["task"]: p["answer_logit"]["task"] for p in profiles}
        shares = {
            on: abs(values[f"{how}@1:{on}"]) / logit
            for on, logit in logits.items()
            if logit > 0 and f"{how}@1:{on}" in values
        }
        if abs(_removed(dear) - values[f"{how}@1:{task}"]) > ROUNDING:
            yield f"{dear[0]!r}, but {how} is {values[f'{how}@1:{task}']}"
        if shares[task] < max(shares.values()):
            yield f"removal costs more elsewhere than on {task}: {shares}"
        yield from _check_whole(dear[4], task, profiles)


def _removed(said: re.Match[str]) -> float:
    """The answer logit lost in what `REMOVAL` found."""
    return read_number(said[3].rstrip(".")) * (1 if said[2] == "costs" else -1)


def _check_whole(whole: str, task: str, profiles: list[dict[str, Any]]) -> Iterator[str]:
    """The answer logit beside what is lost of it."""
    logits = [p["answer_logit"]["task"] for p in profiles if p["task"] == task]
    if all(abs(read_number(whole) - logit) > 0.06 for logit in logits):
        yield f"{whole} is not the answer logit {logits}"
