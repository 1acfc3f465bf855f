"""Metrics of one's own: a function with a name, a direction and a version."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.specs.names import METRICS

Outputs = Literal["logprobs", "logits"]
"""What a metric is computed from."""

UNVERSIONED = "unversioned"
"""Stands in place of the version of a metric that has none."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_KEY = re.compile(rf"{_NAME.pattern}@{_VERSION.pattern}")

_RESERVED = ("model_", "ablated_")
"""Prefixes under which records hold values of the whole and of the ablated model."""


@dataclass(frozen=True)
class Metric:
    """A metric of one's own, for `discover` and `evaluate`.

        Metric("margin", lambda logprobs, answers: logprobs[answers.correct], version=1)

    Args:
        name: letters, digits and `_`, a letter or `_` first; not the name of a built-in metric.
        function: called as `function(outputs, answers)`. `outputs` has the shape
            [prompt, vocabulary]: what the model, or a circuit, predicts at the position of each
            answer. `answers.correct` and `answers.incorrect` mark the tokens of each prompt's
            answers (boolean, [prompt, vocabulary]); `answers.model` is what the whole model
            predicts there. It returns one number per prompt, which may depend on that prompt
            alone. Methods that take gradients differentiate it by `outputs`.
        version: letters, digits, `.`, `_` and `-`. Name and version identify the function in
            stored runs: raise the version whenever the function changes. None: its runs are
            computed but neither stored nor looked up.
        lower_is_better: whether a lower value is better.
        uses: `logprobs` for log-probabilities in nats, `logits` for unnormalised logits.

    Raises:
        InvalidInput: an argument is not valid.
    """

    name: str
    function: Callable[..., Any]
    version: str | int | None = None
    lower_is_better: bool = False
    uses: Outputs = "logprobs"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise _refused(
                "name",
                f"{self.name!r} cannot be the name of a metric",
                allowed="up to 64 letters, digits and _, a letter or _ first",
            )
        if self.name in METRICS:
            raise _refused("name", f"'{self.name}' is a built-in metric", fix="choose another name")
        if self.name.startswith(_RESERVED):
            raise _refused(
                "name", f"'{self.name}' begins with a reserved prefix", fix="choose another name"
            )
        if not callable(self.function):
            raise _refused("function", f"{self.function!r} is not a function")
        _check_parameters(self.function)
        version = str(self.version)
        if self.version is not None and (
            isinstance(self.version, bool)
            or not _VERSION.fullmatch(version)
            or version == UNVERSIONED
        ):
            raise _refused(
                "version",
                f"{self.version!r} cannot be a version",
                allowed="a number, or up to 64 letters, digits, '.', '_' and '-'",
            )
        if not isinstance(self.lower_is_better, bool):
            raise _refused("lower_is_better", f"{self.lower_is_better!r} is not True or False")
        if self.uses not in get_args(Outputs):
            raise _refused(
                "uses", f"{self.uses!r} is not allowed here", allowed=", ".join(get_args(Outputs))
            )

    @property
    def key(self) -> str:
        """Name and version, as in `margin@1`: the name of the metric in specs and records."""
        return f"{self.name}@{UNVERSIONED if self.version is None else self.version}"

    def traits(self) -> dict[str, Any]:
        """What else decides how the function is used, as JSON data."""
        return {"metric": self.key, "lower_is_better": self.lower_is_better, "uses": self.uses}


GivenMetric: TypeAlias = Metric | Callable[..., Any] | str | None
"""A metric as an argument: the name of a built-in one, a `Metric`, or a plain function."""


def own_metric(given: GivenMetric) -> Metric | None:
    """The metric of one's own in an argument; None for a name or None.

    A plain function has its own name and no version, and higher is better.

    Raises:
        InvalidInput: the function has no name.
    """
    if given is None or isinstance(given, Metric | str):
        return given if isinstance(given, Metric) else None
    name = getattr(given, "__name__", None)
    if callable(given) and (name is None or name == "<lambda>"):
        raise _refused("name", "a function without a name", fix="give Metric('NAME', function)")
    return Metric(str(name), given)


def metric_name(given: GivenMetric) -> str | None:
    """The name in specs of a metric that was given as an argument."""
    own = own_metric(given)
    if own is not None:
        return own.key
    return given if isinstance(given, str) else None


def is_metric(name: object) -> bool:
    """Whether `name` is that of a built-in metric, or name and version of one's own."""
    return isinstance(name, str) and (name in METRICS or _KEY.fullmatch(name) is not None)


def check_storable(metric: str | None, where: str) -> None:
    """Raise InvalidInput for a metric without a version: no run can be identified by it."""
    if metric is not None and metric.endswith(f"@{UNVERSIONED}"):
        name = metric.partition("@")[0]
        raise InvalidInput(
            f"metric '{name}' has no version, so that its runs cannot be stored or looked up",
            where=where,
            field="metric",
            fix=f"give Metric('{name}', function, version=1), or leave out the store",
        )


def missing_function(metric: str) -> InvalidInput:
    """The error where the function of a metric of one's own is needed and was not given."""
    name, _, version = metric.partition("@")
    return InvalidInput(
        f"'{metric}' is a metric of one's own, and its function is not given here",
        field="metric",
        fix=f"in Python, give metric=Metric('{name}', function, version='{version}') to discover "
        "or evaluate",
    )


def _check_parameters(function: Callable[..., Any]) -> None:
    """Raise InvalidInput if `function` cannot be called with outputs and answers by position."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some built-in functions have none
        return
    try:
        signature.bind(None, None)
    except TypeError as error:
        raise _refused(
            "function",
            f"cannot be called as function(outputs, answers): {error}",
            fix=f"give it two parameters; it has {signature}",
        ) from error


def _refused(field: str, problem: str, **parts: str) -> InvalidInput:
    return InvalidInput(problem, where="Metric", field=field, **parts)
