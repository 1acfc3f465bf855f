"""Questions and their answers: one task in one model, cut at several thresholds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from acdc_pipeline.graph import Topology
from acdc_pipeline.specs import canonical_json
from acdc_pipeline.store import Figures
from acdc_pipeline.store.figures import faithfulness_by_metric
from acdc_pipeline.wiki.runs import KeptEdge, Run

EdgeKey = tuple[str, str, str]

SIZES = ("threshold", "share", "edges")
"""Parameters of methods that say where to cut: cuts of one question differ in nothing else."""

_ENOUGH = 0.8
"""How faithful the circuit shown first should be."""


@dataclass(frozen=True)
class Cut:
    """One circuit of a question.

    Args:
        run: where it comes from.
        threshold: τ; None where the method has none.
        edges: what was kept.
    """

    run: Run
    threshold: float | None
    edges: Mapping[EdgeKey, KeptEdge]

    @property
    def label(self) -> str:
        """`0.01`, or the number of edges where there is no threshold."""
        return f"{len(self.edges):,}" if self.threshold is None else f"{self.threshold:g}"

    @property
    def share(self) -> float | None:
        """Kept edges of all edges."""
        total = self.run.edges_total
        return len(self.edges) / total if total else None

    @property
    def faithfulness(self) -> float | None:
        """(m(C) - m(no edge)) / (m(model) - m(no edge)), m the metric of the run.

        1 is the whole model, 0 is what no edge at all gives; it may leave that range. Runs of
        before it was stored have that of KL, which is 0 for the model itself.
        """
        stored = self.run.details.get("faithfulness")
        if isinstance(stored, int | float) and not isinstance(stored, bool):
            return float(stored)
        kl, nothing = self.run.metrics.get("kl"), self.run.metrics.get("ablated_kl")
        return None if kl is None or not nothing else 1 - kl / nothing


@dataclass(frozen=True)
class Question:
    """A task in a model under one setting of everything but the threshold.

    Args:
        task: name of the task.
        cuts: from the most demanding cut to the least: the last circuit is the largest.
    """

    task: str
    cuts: tuple[Cut, ...]

    @property
    def spec(self) -> Any:
        """What all cuts have in common, as the spec of the first."""
        return self.cuts[0].run.spec

    @property
    def shape(self) -> Topology:
        """The full graph."""
        shape = self.cuts[0].run.shape
        assert shape is not None
        return shape

    @property
    def has_thresholds(self) -> bool:
        """Whether cuts are named by τ rather than by size."""
        return self.cuts[0].threshold is not None

    @cached_property
    def shown(self) -> int:
        """Index of the cut that says most in least: the sparsest faithful enough."""
        enough = [i for i, cut in enumerate(self.cuts) if (cut.faithfulness or 0.0) >= _ENOUGH]
        return enough[0] if enough else len(self.cuts) - 1

    @cached_property
    def presence(self) -> dict[EdgeKey, tuple[bool, ...]]:
        """For every edge of any cut, which cuts have it; in the order of the graph."""
        keys: dict[EdgeKey, None] = {}
        for cut in reversed(self.cuts):
            keys |= dict.fromkeys(cut.edges)
        return {key: tuple(key in cut.edges for cut in self.cuts) for key in keys}

    @cached_property
    def heads(self) -> dict[str, tuple[bool, ...]]:
        """For every head that an edge of any cut touches, which cuts have such an edge."""
        found: dict[str, tuple[bool, ...]] = {}
        for (src, dst, _), at in self.presence.items():
            for node in (src, dst):
                if node[0] == "a":
                    had = found.get(node, (False,) * len(at))
                    found[node] = tuple(a or b for a, b in zip(had, at, strict=True))
        return found

    @cached_property
    def arriving(self) -> dict[str, list[EdgeKey]]:
        """The edges of any cut by destination."""
        return _by_end(self.presence, 1)

    @cached_property
    def leaving(self) -> dict[str, list[EdgeKey]]:
        """The edges of any cut by source."""
        return _by_end(self.presence, 0)

    def score(self, key: EdgeKey) -> float | None:
        """The score of an edge in the largest circuit that has it."""
        return next((c.edges[key].score for c in reversed(self.cuts) if key in c.edges), None)

    def survives(self, at: Sequence[bool]) -> Cut | None:
        """The most demanding cut that has it."""
        return next((cut for cut, there in zip(self.cuts, at, strict=True) if there), None)


def questions_of(runs: Iterable[Run]) -> dict[str, tuple[Question, ...]]:
    """The questions asked of one model by task, the one with most cuts first."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        if run.edges is not None:
            groups.setdefault((run.spec.task, _setting(run)), []).append(run)
    found: dict[str, list[tuple[tuple[Any, ...], Question]]] = {}
    for (task, setting), members in groups.items():
        question = Question(task, _cuts(members))
        first = members[0].spec
        rank = (first.method.name != "acdc", -len(question.cuts), -first.prompts, first.seed)
        found.setdefault(task, []).append(((*rank, setting), question))
    return {
        task: tuple(question for _, question in sorted(ranked, key=lambda pair: pair[0]))
        for task, ranked in sorted(found.items())
    }


def threshold_of(run: Run) -> float | None:
    """τ of a run; None for methods without one."""
    return getattr(run.spec.method, "threshold", None)


def _by_end(keys: Iterable[EdgeKey], end: int) -> dict[str, list[EdgeKey]]:
    found: dict[str, list[EdgeKey]] = {}
    for key in keys:
        found.setdefault(key[end], []).append(key)
    return found


def _cuts(runs: Sequence[Run]) -> tuple[Cut, ...]:
    cuts = [
        Cut(run, threshold_of(run), {edge.key: edge for edge in run.edges or ()}) for run in runs
    ]
    return tuple(sorted(cuts, key=lambda c: (-(c.threshold or 0.0), len(c.edges), c.run.run_id)))


def _setting(run: Run) -> str:
    plain = run.spec.plain()
    method = {name: value for name, value in plain["method"].items() if name not in SIZES}
    rest = {name: plain[name] for name in ("task_hash", "prompts", "seed", "dtype")}
    return canonical_json({**rest, "method": method})


def measured_facts(figures: Figures) -> dict[str, Any] | None:
    """The figures by name; None where nothing was measured."""
    if not figures.evaluations:
        return None
    needed, nodes = figures.needed or (None, None)
    return {
        "above_null": figures.percentile,
        "null_circuits": figures.null_drawn,
        "cpr": figures.cpr,
        "cmd": figures.cmd,
        "incompleteness": figures.incompleteness,
        "worst_knockout": figures.worst_knockout,
        "nodes_needed": needed,
        "nodes": nodes,
        "scrubbed": figures.scrubbed,
        "fresh_prompts": figures.fresh,
        "stability": figures.jaccard,
        "transfer": figures.transfer,
    }


def other_faithfulness(run: Run) -> tuple[str, float] | None:
    """Faithfulness in another metric than the run was searched by, and which; None without one.

    That is the task's own metric for a search by KL, and KL for any other.
    """
    searched_by = run.spec.method.plain().get("metric", "kl")
    found = faithfulness_by_metric(run.metrics, searched_by)
    return next((item for item in found.items() if item[0] != searched_by), None)
