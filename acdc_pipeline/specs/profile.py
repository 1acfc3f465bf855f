"""A worker profile: the resources that runs execute on. Only `dtype` affects a result."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    JsonValue,
    PlainSerializer,
    model_validator,
)

from acdc_pipeline.errors import SpecError
from acdc_pipeline.specs.base import Spec, rejection
from acdc_pipeline.specs.names import Dtype, Executor

_BYTES = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12} | {
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
LEAST_MEMORY = 2**10
"""Bytes. No search needs less; a number without a unit is a number of bytes."""

AUTO = 0
"""The number of actors where the cluster decides it: `actors: auto` in a file."""

_ACTORS = "a number from 1, or auto: as many as the cluster has room for"

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)\Z", re.ASCII)


def bytes_of(text: str) -> int:
    """`"60GiB"` as bytes. Raises SpecError if `text` is not an amount of memory."""
    match = _QUANTITY.match(text.strip())
    if not match or match[2] not in _BYTES or float(match[1]) == 0:
        raise SpecError(f"'{text}' is not an amount of memory", allowed="as in 60GiB, 512MiB")
    return int(float(match[1]) * _BYTES[match[2]])


def amount_of(size: int) -> str:
    """`size` bytes as an amount of memory that `bytes_of` reads, rounded up by at most 1 %."""
    unit = next((unit for unit in ("GiB", "MiB", "KiB") if size >= 100 * _BYTES[unit]), "")
    return f"{-(-size // _BYTES[unit])}{unit}"


def seconds_of(text: str) -> float:
    """`"7d"`, `"1h"`, `"10m"`, `"60s"` as seconds. Raises SpecError for anything else."""
    match = _QUANTITY.match(text.strip())
    if not match or match[2] not in _SECONDS:
        raise SpecError(f"'{text}' is not a duration", allowed="as in 60s, 10m, 1h, 7d")
    return float(match[1]) * _SECONDS[match[2]]


def _or_number(of_text: Callable[[str], float]) -> Callable[[Any], Any]:
    """A validator that converts texts by `of_text` and keeps numbers."""

    def convert(value: Any) -> Any:
        try:
            return of_text(value) if isinstance(value, str) else value
        except SpecError as error:
            raise rejection("", error.problem, allowed=error.allowed) from error

    return convert


Bytes = Annotated[int, BeforeValidator(_or_number(bytes_of), json_schema_input_type=int | str)]
Seconds = Annotated[
    float, BeforeValidator(_or_number(seconds_of), json_schema_input_type=float | str)
]


def _read_actors(value: Any) -> Any:
    """Convert `auto` to `AUTO`, which cannot be written as a number."""
    if value == "auto":
        return AUTO
    if isinstance(value, str) or (isinstance(value, int) and value < 1):
        raise rejection("", f"'{value}' is no number of workers", allowed=_ACTORS)
    return value


def _write_actors(value: int) -> int | str:
    return "auto" if value == AUTO else value


Actors = Annotated[
    int,
    Field(le=100_000),
    BeforeValidator(
        _read_actors,
        json_schema_input_type=Annotated[int, Field(ge=1, le=100_000)] | Literal["auto"],
    ),
    PlainSerializer(_write_actors, return_type=int | Literal["auto"], when_used="json"),
]


def _shared_or_whole(gpus: float) -> float:
    if gpus > 1 and gpus != int(gpus):
        raise rejection("", f"{gpus:g} GPUs cannot be given", allowed="a part of one, or 1, 2, …")
    return gpus


Gpus = Annotated[float, Field(ge=0, le=1_000), AfterValidator(_shared_or_whole)]


class LargerWorkers(Spec):
    """The fields of a worker profile that differ for runs whose memory ran out."""

    actors: Actors | None = None
    cpus: float | None = Field(default=None, gt=0, le=10_000)
    gpus: Gpus | None = None
    shards: int | None = Field(default=None, ge=1, le=1_000)
    memory: Annotated[Bytes, Field(ge=LEAST_MEMORY)] | None = None

    @property
    def given(self) -> dict[str, Any]:
        """The fields that differ, as in a file."""
        return {name: value for name, value in self.plain().items() if value is not None}


class WorkerProfile(Spec):
    """The resources that a sweep executes on.

    Args:
        executor: `local` executes runs one after the other in this process; `ray` on actors.
        actors: number of worker processes; each keeps one model loaded. `AUTO` (`auto` in a file)
            means as many as the cluster has room for.
        cpus: CPUs of each actor; with `AUTO` the most of each.
        gpus: GPUs of each actor; fractions share one. With `AUTO` only on clusters with GPUs.
        shards: number of workers that the prompts of each run are spread over, in groups that are
            computed alone; None computes all prompts together. Any number gives the same bytes.
        dtype: precision of runs whose sweep does not specify it.
        memory: the engine's byte budget in each worker; None lets it ask the device.
        attempts: how often a run is tried if its worker dies.
        checkpoint: seconds between checkpoints of a long run.
        runtime_env: passed to Ray unchanged (visible to all users of the cluster: no secrets).
        larger: what differs for runs whose memory ran out with an eighth of the budget too; they
            are executed after the others, on actors of their own. None lets them fail.
    """

    executor: Executor
    actors: Actors
    cpus: float = Field(gt=0, le=10_000)
    gpus: Gpus
    shards: int | None = Field(default=None, ge=1, le=1_000)
    dtype: Dtype
    memory: Annotated[Bytes, Field(ge=LEAST_MEMORY)] | None = None
    attempts: int = Field(ge=1, le=1_000)
    checkpoint: Annotated[Seconds, Field(gt=0)]
    runtime_env: Mapping[str, JsonValue] = Field(default_factory=dict)
    larger: LargerWorkers | None = None

    @model_validator(mode="after")
    def _larger_than_the_others(self) -> Self:
        if self.larger is None:
            return self
        ours = self.plain()
        differing = {name: v for name, v in self.larger.given.items() if v != ours[name]}
        if self.executor != "ray":
            raise rejection(
                "larger",
                "is for actors: with executor 'local' there are no other workers",
                fix="leave it out, or set executor: ray",
            )
        if not differing:
            raise rejection(
                "larger",
                "says nothing that differs",
                allowed=f"one or more of {', '.join(LargerWorkers.model_fields)}",
                fix="give it more of what ran out, as in larger: {memory: 120GiB}, or leave it out",
            )
        memory = differing.get("memory")
        if memory is not None and self.memory is not None and memory < self.memory:
            raise rejection(
                "larger.memory",
                f"{amount_of(memory)} is less than the {amount_of(self.memory)} of the others",
                allowed=f"from {amount_of(self.memory)}",
            )
        return self

    @property
    def enlarged(self) -> WorkerProfile | None:
        """The profile of runs whose memory ran out; None if there is none. Raises SpecError."""
        if self.larger is None:
            return None
        fields = {**self.plain(), **self.larger.given, "larger": None}
        return WorkerProfile.from_plain(fields)

    @property
    def workers(self) -> int:
        """The number of processes that work at once: one if the executor is local.

        One too where the cluster decides it, which is not known before it is reached.
        """
        return max(1, self.actors) if self.executor == "ray" else 1

    @property
    def cpus_each(self) -> float:
        """CPUs of one of `workers`; a local executor has those of all actors."""
        return self.cpus * max(1, self.actors) / self.workers
