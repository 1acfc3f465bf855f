"""Runs that take no time to execute: what is left is what it costs to hand out and to store one.

No torch: a worker process is at work as soon as it has started.
"""

from __future__ import annotations

from acdc_pipeline.execution.checkpoint import Checkpoint
from acdc_pipeline.execution.progress import Progress
from acdc_pipeline.execution.ray.actor import Allotment
from acdc_pipeline.execution.runs import PlannedRun
from acdc_pipeline.graph import Circuit, Decision, Edge, Topology
from acdc_pipeline.specs import AcdcMethod, RunSpec, TaskSpec
from acdc_pipeline.store import RunRecord

THRESHOLDS = 4

TASK = TaskSpec.from_plain(
    {
        "name": "trivial",
        "title": "Trivial",
        "behaviour": "nothing",
        "source": {"paper": "none"},
        "generator": {
            "kind": "pairs",
            "bos": False,
            "pairs": [{"clean": [0, 1], "corrupted": [2, 1], "correct": [3], "incorrect": []}],
        },
        "metrics": {"discovery": "kl", "report": []},
    }
)


def trivial_runs(count: int) -> list[PlannedRun]:
    """`count` runs of ten models, four thresholds to a question."""
    return [PlannedRun(_spec(index), TASK) for index in range(count)]


def _spec(index: int) -> RunSpec:
    question, place = divmod(index, THRESHOLDS)
    method = AcdcMethod(
        name="acdc",
        threshold=0.1 / (place + 1),
        metric="kl",
        ablation="corrupted",
        order="reverse-heads",
        difference="signed",
    )
    model = f"zoo:trivial-{question % 10}"
    return RunSpec(
        task=TASK.name,
        task_hash="0" * 64,
        model=model,
        model_revision=model,
        method=method,
        prompts=1,
        seed=question,
        dtype="float32",
    )


def record_of(run: RunSpec) -> RunRecord:
    """A circuit of three edges and a log of two decisions: every file of a run, small."""
    removed, kept = Edge.parse("a0.h0->logits"), Edge.parse("input->a0.h1<q>")
    return RunRecord(
        spec=run,
        circuit=Circuit.of(
            Topology(1, 2, has_mlp=False),
            [kept, "input->a0.h1<v>", "a0.h1->logits"],
            {kept: 0.1, removed: -0.001},
        ),
        decisions=(
            Decision(0, removed, 0.25, 0.3, removed=True),
            Decision(1, kept, 0.3, 1.5, removed=False),
        ),
        metrics={"kl": 0.3},
        details={},
        wall_seconds=0.0,
        environment={},
    )


class Trivial:
    """Executes runs in no time."""

    def execute(
        self,
        run: RunSpec,
        task: TaskSpec,
        progress: Progress | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> RunRecord:
        """The same small circuit for every run."""
        return record_of(run)


def make_trivial(allotment: Allotment) -> Trivial:  # noqa: ARG001  (what a factory is given)
    """What a worker process holds."""
    return Trivial()
