"""The columns of a list of runs: what each is, and the settings that tell them apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from acdc_pipeline.cli.terminal.tables import Column
from acdc_pipeline.cli.terminal.words import kept_text, number, percent, share_text
from acdc_pipeline.cli.views.run_names import method_name
from acdc_pipeline.store.figures import faithfulness_of

if TYPE_CHECKING:
    from acdc_pipeline.specs import RunSpec
    from acdc_pipeline.store import Figures, RunSummary

SETTINGS = (
    Column("prompts", "number", rank=2),
    Column("seed", "number", rank=2),
    Column("metric", rank=2),
    Column("ablation", rank=2),
    Column("order", rank=2),
    Column("difference", rank=2),
    Column("rank", rank=2),
    Column("steps", "number", rank=2),
    Column("rounds", "number", rank=2),
    Column("screen", "number", rank=2),
    Column("learning rate", "number", rank=2),
    Column("penalty", "number", rank=2),
    Column("dtype", rank=2),
    Column("task version", rank=2),
    Column("weights", rank=2),
)
COLUMNS = (
    Column("run"),
    Column("task", "name"),
    Column("model", "name"),
    Column("method"),
    *SETTINGS,
    Column("edges kept", rank=1),
    Column("share", "number", rank=4),
    Column("KL", "number"),
    Column("faithfulness", "number", rank=4),
    Column("accuracy", "number", rank=3),
    Column("forced choice", "number", rank=3),
    Column("above null", "number", rank=4),
    Column("CPR", "number", rank=5),
    Column("stability", "number", rank=5),
    Column("seconds", "number", rank=5),
)


def rows_of(
    runs: Sequence[RunSummary], evaluated: Mapping[str, Figures] | None = None
) -> list[dict[str, str]]:
    """`runs` as rows of `COLUMNS`.

    Args:
        runs: of one list.
        evaluated: what was measured of some of them, by id; the columns are left out where nothing
            was measured of any.
    """
    settings = settings_apart([s.spec for s in runs])
    known = evaluated or {}
    measured = any(s.run_id in known for s in runs)
    return [
        {
            "run": s.run_id[:8],
            "task": s.spec.task,
            "model": s.spec.model,
            "method": method_name(s.spec.method),
            **apart,
            **result_cells(s.edges_kept, s.edges_total, s.metrics, s.wall_seconds),
            **(evaluation_cells(known.get(s.run_id)) if measured else {}),
            "faithfulness": number(faithfulness_of(s.metrics, s.spec.method.plain().get("metric"))),
        }
        for s, apart in zip(runs, settings, strict=True)
    ]


def result_cells(
    kept: int | None, total: int | None, metrics: Mapping[str, float], seconds: float
) -> dict[str, str]:
    """What came of a run, as cells of `COLUMNS`."""
    return {
        "edges kept": kept_text(kept, total),
        "share": share_text(kept, total),
        "KL": number(metrics.get("kl")),
        "accuracy": percent(metrics.get("accuracy")),
        "forced choice": percent(metrics.get("forced_choice")),
        "seconds": f"{seconds:.1f}",
    }


def evaluation_cells(figures: Figures | None) -> dict[str, str]:
    """What was measured of a circuit, as cells of `COLUMNS`; a dash for what was not."""
    return {
        "above null": percent(None if figures is None else figures.percentile),
        "CPR": number(None if figures is None else figures.cpr),
        "stability": number(None if figures is None else figures.jaccard),
    }


def settings_apart(specs: Sequence[RunSpec]) -> list[dict[str, str]]:
    """For each of `specs` the settings in which two of them differ.

    Args:
        specs: the runs of one list. Task and model are not settings; but the hash of what goes by
            one name is, where that name has stood for more than one thing. A setting that only
            some methods have is no difference to those that lack it: the method's name says so.
    """
    plain = [_settings(spec) for spec in specs]
    differing = {
        column.name
        for column in SETTINGS
        if len({settings[column.name] for settings in plain if column.name in settings}) > 1
    }
    tasks = _with_several((spec.task, spec.task_hash) for spec in specs)
    models = _with_several((spec.model, spec.model_revision) for spec in specs)
    rows = [{name: settings.get(name, "–") for name in differing} for settings in plain]
    for row, spec in zip(rows, specs, strict=True):
        if tasks:
            row["task version"] = spec.task_hash[:8]
        if models:
            row["weights"] = spec.model_revision[:8]
    return rows


def _settings(spec: RunSpec) -> dict[str, str]:
    run = {"prompts": spec.prompts, "seed": spec.seed, "dtype": spec.dtype}
    both = run | spec.method.plain()
    return {name.replace("_", " "): str(value) for name, value in both.items()}


def _with_several(pairs: Iterable[tuple[str, str]]) -> bool:
    different = set(pairs)
    return len({name for name, _ in different}) < len(different)
