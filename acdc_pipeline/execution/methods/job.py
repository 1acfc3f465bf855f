"""What a run's method is given, and what it comes back with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from acdc_pipeline.engine import Bench
from acdc_pipeline.execution.checkpoint import Kept
from acdc_pipeline.execution.progress import Progress
from acdc_pipeline.graph import Circuit, Decision, Edge
from acdc_pipeline.specs import RunSpec


@dataclass(frozen=True)
class Job:
    """A run whose model and prompts are ready.

    Args:
        run: what to do.
        bench: the model at work on the prompts.
        memory: byte budget beside the weights.
        progress: told how far it is.
        kept: the decisions of an earlier attempt, and where this one's go.
    """

    run: RunSpec
    bench: Bench
    memory: int
    progress: Progress
    kept: Kept

    @property
    def label(self) -> str:
        """What the run is called while it works."""
        return f"{self.run.task} on {self.run.model}"


@dataclass(frozen=True)
class Found:
    """The circuit that a method found.

    Args:
        circuit: the edges kept, with their scores.
        measured: the edges that were there when the method last measured: those of the circuit,
            and any whose removal it never got to.
        decisions: its decision log, if it keeps one.
        last_value: what it last measured the circuit's metric as, oriented so that higher is
            worse; None where it never did.
        details: what else it reports, as JSON data.
    """

    circuit: Circuit
    measured: frozenset[Edge]
    decisions: tuple[Decision, ...] = ()
    last_value: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
