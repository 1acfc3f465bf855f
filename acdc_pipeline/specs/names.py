"""The fixed vocabularies of specifications, one `Literal` each, and the forms of other names."""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeAlias, get_args

from pydantic import Field

from acdc_pipeline.errors import InvalidInput, unknown
from acdc_pipeline.graph.circuit import Rank, Selector
from acdc_pipeline.graph.search_order import HeadOrder

MetricName = Literal[
    "kl", "logit_diff", "prob_diff", "nll", "match_nll", "accuracy", "forced_choice"
]
Ablation = Literal["corrupted", "zero", "mean"]
ComparedAblation = Literal["corrupted", "zero", "mean", "resample", "adversarial"]
"""What removed edges carry when ablations are compared.

`resample`: the mean over what other prompts of the task give. `adversarial`: the worst of these
that a search finds.
"""

Difference = Literal["signed", "abs"]
Combination = Literal["mean", "max", "min"]
GradDrop = Literal["layers", "none"]
Experts = Literal["layer", "nodes"]
Positions = Literal["none", "spans", "tokens"]
Dtype = Literal["float32", "float64", "bfloat16", "float16"]
Executor = Literal["local", "ray"]
Rule = Literal["fresh", "keep", "swap"]
ModelKind = Literal["zoo", "hf", "dir", "gguf", "memory"]

Name = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9][a-z0-9_-]*$",
        description="lower-case letters, digits, - and _, a letter or digit first",
    ),
]
"""The name of a task or sweep: valid as a folder name on any system."""

MAX_SEED = 2**53 - 1
"""At most 53 bits, which every JSON reader keeps exactly."""

Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]

Bos = Annotated[
    bool,
    Field(description="true or false: whether a beginning-of-sequence token comes first"),
]

MetricKey: TypeAlias = str
"""A metric that was computed: a `MetricName`, or name and version of one's own (`margin@1`)."""

COMPARED: tuple[ComparedAblation, ...] = get_args(ComparedAblation)
METRICS: tuple[MetricName, ...] = get_args(MetricName)
COUNTING_METRICS: tuple[MetricName, ...] = ("accuracy", "forced_choice")
"""Metrics that count answers: reported with every circuit, as shares rather than faithfulness."""
DTYPES: tuple[Dtype, ...] = get_args(Dtype)

NOUNS: dict[frozenset[str], str] = {
    frozenset(get_args(MetricName)): "metric",
    frozenset(get_args(Ablation)): "ablation",
    frozenset(get_args(HeadOrder)): "head order",
    frozenset(get_args(Difference)): "difference",
    frozenset(get_args(Rank)): "rank",
    frozenset(get_args(Combination)): "combination",
    frozenset(get_args(GradDrop)): "kind of dropping",
    frozenset(get_args(Selector)): "selection of edges",
    frozenset(get_args(Experts)): "form of experts",
    frozenset(get_args(Positions)): "kind of positions",
    frozenset(get_args(Dtype)): "dtype",
    frozenset(get_args(Executor)): "executor",
    frozenset(get_args(Rule)): "rule",
}
"""The name of a member of each vocabulary, for errors."""

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:[0-9]{1,4}(-[0-9]{1,4})?(,[0-9]{1,4}(-[0-9]{1,4})?)*)?")
_FORMS = "auto, cpu, cuda, cuda:0, cuda:0-3, cuda:0,2, mps"


def check_device(name: str) -> None:
    """Raise InvalidInput if `name` cannot be the name of devices, on any machine."""
    if not _DEVICE.fullmatch(name):
        raise InvalidInput(unknown("device", name, ("auto", "cpu", "cuda", "mps")), allowed=_FORMS)
    device_indices(name)


def device_indices(name: str) -> tuple[int, ...]:
    """The indices that a valid name of CUDA devices holds: 0, 1, 2 for `cuda:0-2`.

    Raises:
        InvalidInput: a range runs backwards, or an index comes twice.
    """
    found: list[int] = []
    for part in filter(None, name.partition(":")[2].split(",")):
        first, _, last = part.partition("-")
        span = range(int(first), int(last or first) + 1)
        if not span:
            raise InvalidInput(
                f"device '{name}': {part} runs backwards", fix=f"write {last}-{first}"
            )
        found += span
    twice = next((index for index in found if found.count(index) > 1), None)
    if twice is not None:
        raise InvalidInput(f"device '{name}' names cuda:{twice} twice", fix="name each once")
    return tuple(found)
