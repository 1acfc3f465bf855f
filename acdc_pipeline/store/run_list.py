"""Lists of runs: their order, their JSON documents, and the same as a data frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from acdc_pipeline.graph.table import data_frame
from acdc_pipeline.specs import Method
from acdc_pipeline.store.evaluation import StoredEvaluation
from acdc_pipeline.store.figures import Figures, faithfulness_of, figures_of
from acdc_pipeline.store.record import RunSummary
from acdc_pipeline.text import pluralize

_RESULTS = pa.schema(
    [
        ("run_id", pa.string()),
        ("task", pa.string()),
        ("model", pa.string()),
        ("method", pa.string()),
        ("threshold", pa.float64()),
        ("prompts", pa.int64()),
        ("seed", pa.int64()),
        ("dtype", pa.string()),
        ("edges", pa.int64()),
        ("edges_total", pa.int64()),
        ("share", pa.float64()),
        ("faithfulness", pa.float64()),
        ("percentile", pa.float64()),
        ("cmd", pa.float64()),
        ("cpr", pa.float64()),
        ("stability", pa.float64()),
        ("wall_seconds", pa.float64()),
        ("parity_error", pa.float64()),
        ("measured_at", pa.timestamp("us", tz="UTC")),
        ("task_hash", pa.string()),
        ("model_revision", pa.string()),
    ]
)
"""Columns of every list; parameters of methods and metrics come after them."""


@dataclass(frozen=True, repr=False)
class RunList(Sequence[RunSummary]):
    """Runs of a store in the order of `acdc runs list`, with their evaluations.

    Args:
        evaluations: by run id, the newest last; runs without one are left out.
    """

    summaries: tuple[RunSummary, ...]
    evaluations: Mapping[str, Sequence[StoredEvaluation]]

    def __len__(self) -> int:
        return len(self.summaries)

    def __iter__(self) -> Iterator[RunSummary]:
        return iter(self.summaries)

    def __getitem__(self, index: Any) -> Any:
        return self.summaries[index]

    def __repr__(self) -> str:
        return f"<{pluralize(len(self), 'run')}>"

    def _repr_html_(self) -> str:
        return self.to_frame()._repr_html_()

    def to_frame(self, *, library: str | None = None) -> Any:
        """Return the runs as a data frame, one row per run. Null means not measured.

        Columns: `run_id`, `task`, `model`, `method`, `threshold`, `prompts`, `seed`, `dtype`;
        `edges` kept, `edges_total` of the graph, and their `share`; `faithfulness` in the metric of
        the search; `percentile` (share of random circuits that are less faithful), `cmd`, `cpr` and
        `stability` of evaluations, and `measured_at`, the time of the newest one; `wall_seconds`,
        `parity_error`, `task_hash`, `model_revision`. After them each parameter of a method, which
        is called `method_…` where a result has its name (`method_edges`), and each metric
        (`kl`, `model_accuracy`, …).

        Args:
            library: `pandas` or `polars`; None for the first of them that is installed.

        Raises:
            UnknownName: it is neither.
            InvalidInput: the library, or both of them, are not installed.
        """
        rows = [self._row(summary) for summary in self.summaries]
        further = dict.fromkeys(name for row in rows for name in row if name not in _RESULTS.names)
        arrays = [pa.array([row.get(f.name) for row in rows], f.type) for f in _RESULTS]
        arrays += [pa.array([row.get(name) for row in rows]) for name in further]
        return data_frame(pa.table(arrays, names=[*_RESULTS.names, *further]), library)

    def _row(self, summary: RunSummary) -> dict[str, Any]:
        measured = self.evaluations.get(summary.run_id, ())
        figures = figures_of(measured)
        document = summary_document(summary, figures)
        method = document.pop("method")
        kept, total = document["edges_kept"], document["edges_total"]
        results = {
            **{name: document[name] for name in _RESULTS.names if name in document},
            "method": method.pop("name"),
            "threshold": method.pop("threshold", None),
            "edges": kept,
            "share": kept / total if kept is not None and total else None,
            "faithfulness": faithfulness_of(summary.metrics, method.get("metric")),
            "percentile": figures.percentile,
            "cmd": figures.cmd,
            "cpr": figures.cpr,
            "stability": figures.jaccard,
            "measured_at": datetime.fromtimestamp(measured[-1].measured_at, UTC)
            if measured
            else None,
        }
        parameters = {
            f"method_{name}" if name in _RESULTS.names else name: value
            for name, value in method.items()
        }
        return {**results, **parameters, **document["metrics"]}


def sort_runs(summaries: Iterable[RunSummary]) -> list[RunSummary]:
    """Return runs by task, model and method, the sparsest circuits of each method first."""
    return sorted(
        summaries, key=lambda s: (s.spec.task, s.spec.model, size_order(s.spec.method), s.run_id)
    )


def size_order(method: Method) -> tuple[str, float]:
    """A sort key that groups methods by name, the sparsest circuits of each first."""
    values = method.plain()
    if (threshold := values.get("threshold")) is not None:
        return method.name, -threshold
    return method.name, values.get("share") or float(values.get("edges") or 0)


def summary_document(summary: RunSummary, figures: Figures | None = None) -> dict[str, Any]:
    """Return a run of a list as JSON data."""
    return {
        "run_id": summary.run_id,
        **summary.spec.plain(),
        "edges_kept": summary.edges_kept,
        "edges_total": summary.edges_total,
        "metrics": dict(summary.metrics),
        "parity_error": summary.parity_error,
        "wall_seconds": summary.wall_seconds,
        **evaluation_part(figures),
    }


def evaluation_part(figures: Figures | None) -> dict[str, Any]:
    """Return the evaluation of a circuit as JSON data; null without one."""
    if figures is None:
        return {"evaluation": None}
    return {"evaluation": {**figures.document, "evaluations": list(figures.evaluations)}}
