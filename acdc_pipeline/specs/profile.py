"""A worker profile: on what a run executes. Nothing in it decides a result but `dtype`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, JsonValue, field_validator

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
"""Bytes. No search fits into less; `60` without a unit means 60 bytes."""

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)\Z", re.ASCII)


def bytes_of(text: str) -> int:
    """`"60GiB"` as bytes. Raises SpecError for what is not an amount of memory."""
    match = _QUANTITY.match(text.strip())
    if not match or match[2] not in _BYTES or float(match[1]) == 0:
        raise SpecError(f"'{text}' is not an amount of memory", allowed="as in 60GiB, 512MiB")
    return int(float(match[1]) * _BYTES[match[2]])


def seconds_of(text: str) -> float:
    """`"7d"`, `"1h"`, `"10m"`, `"60s"` as seconds. Raises SpecError for what is not a duration."""
    match = _QUANTITY.match(text.strip())
    if not match or match[2] not in _SECONDS:
        raise SpecError(f"'{text}' is not a duration", allowed="as in 60s, 10m, 1h, 7d")
    return float(match[1]) * _SECONDS[match[2]]


def parse_bytes(value: Any) -> Any:
    """`bytes_of` for texts; numbers are bytes already. Rejects other texts."""
    try:
        return bytes_of(value) if isinstance(value, str) else value
    except SpecError as error:
        raise rejection("", error.problem, allowed=error.allowed) from error


def parse_seconds(value: Any) -> Any:
    """`seconds_of` for texts; numbers are seconds already. Rejects other texts."""
    try:
        return seconds_of(value) if isinstance(value, str) else value
    except SpecError as error:
        raise rejection("", error.problem, allowed=error.allowed) from error


Bytes = Annotated[int, BeforeValidator(parse_bytes, json_schema_input_type=int | str)]
Seconds = Annotated[float, BeforeValidator(parse_seconds, json_schema_input_type=float | str)]


class WorkerProfile(Spec):
    """On what a sweep executes.

    Args:
        executor: `local` runs in this process, one run after the other; `ray` on actors.
        actors: worker processes; each keeps one model loaded.
        cpus: CPUs of each.
        gpus: GPUs of each; fractions share one.
        dtype: precision of runs whose sweep does not say.
        memory: the engine's byte budget in each worker; None lets it ask the device.
        attempts: how often a run is tried when its worker dies.
        checkpoint: seconds between checkpoints of a long run.
        runtime_env: handed to Ray as it is (visible to every user of the cluster: no secrets).
    """

    executor: Executor
    actors: int = Field(ge=1, le=100_000)
    cpus: float = Field(gt=0, le=10_000)
    gpus: float = Field(ge=0, le=1_000)
    dtype: Dtype
    memory: Annotated[Bytes, Field(ge=LEAST_MEMORY)] | None = None
    attempts: int = Field(ge=1, le=1_000)
    checkpoint: Annotated[Seconds, Field(gt=0)]
    runtime_env: Mapping[str, JsonValue] = Field(default_factory=dict)

    @field_validator("gpus")
    @classmethod
    def _shared_or_whole(cls, gpus: float) -> float:
        if gpus > 1 and gpus != int(gpus):
            raise rejection(
                "", f"{gpus:g} GPUs cannot be given", allowed="a part of one, or 1, 2, …"
            )
        return gpus

    @property
    def workers(self) -> int:
        """How many work at once: one where everything happens in this process."""
        return self.actors if self.executor == "ray" else 1

    @property
    def cpus_each(self) -> float:
        """CPUs of one of `workers`: the only one has those of all actors."""
        return self.cpus * self.actors / self.workers
