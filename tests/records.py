"""A run written by hand, for tests that need one and not many."""

from __future__ import annotations

from acdc_pipeline.graph import Circuit, Decision, Edge, Topology
from acdc_pipeline.specs import AcdcMethod, RunSpec
from acdc_pipeline.store import HeadScore, RunRecord


def spec(seed: int = 0) -> RunSpec:
    """A run of ACDC; another seed is another run."""
    method = AcdcMethod(
        name="acdc",
        threshold=0.01,
        metric="kl",
        ablation="corrupted",
        order="reverse-heads",
        difference="signed",
    )
    return RunSpec(
        task="ioi",
        task_hash="0" * 64,
        model="zoo:attn-2l",
        model_revision="1" * 40,
        method=method,
        prompts=64,
        seed=seed,
        dtype="float32",
    )


def record(seed: int = 0) -> RunRecord:
    """A whole record: a circuit of three edges, two decisions, a head's score and profile."""
    removed = Edge.parse("a0.h0->logits")
    kept = Edge.parse("input->a0.h1<q>")
    return RunRecord(
        spec=spec(seed),
        circuit=Circuit.of(
            Topology(1, 2, has_mlp=False),
            [kept, "input->a0.h1<v>", "a0.h1->logits"],
            {kept: 0.1, removed: -0.001},
        ),
        decisions=(
            Decision(0, removed, 0.25, 0.1 + 0.2, removed=True),
            Decision(1, kept, 0.1 + 0.2, 1.5, removed=False),
        ),
        metrics={"kl": 0.3, "accuracy": 0.96875},
        details={"edges_tested": 2, "smallest_margin": 0.01},
        wall_seconds=1.5,
        environment={"torch": "2.13.0", "device": "cpu"},
        parity_error=1e-6,
        heads=(HeadScore("zoo:attn-2l", 0, 1, "induction@1", 0.9, 50, 0, 0.85, 0.95),),
        profile={"version": 1, "roles": [], "summaries": {"a0.h1": "Behaves as …"}},
    )
