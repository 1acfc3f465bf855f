"""Lists of runs: their columns, the settings that tell runs apart, failed runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from acdc_pipeline.cli.terminal.output import print_json, print_note, print_warnings
from acdc_pipeline.cli.terminal.tables import Column, print_table
from acdc_pipeline.cli.terminal.text import format_kept, format_kept_share, relative_path
from acdc_pipeline.errors import nearest
from acdc_pipeline.text import NONE, format_number, format_percent, pluralize, without_rounding

if TYPE_CHECKING:
    from acdc_pipeline.errors import AcdcError
    from acdc_pipeline.specs import Method, RunSpec
    from acdc_pipeline.store import Figures, RunFailure, RunSummary, Store
    from acdc_pipeline.store.index import FoundRuns

SETTINGS = (
    Column("prompts", "number", rank=2),
    Column("seed", "number", rank=2),
    Column("metric", rank=2),
    Column("ablation", rank=2),
    Column("order", rank=2),
    Column("difference", rank=2),
    Column("rank", rank=2),
    Column("select", rank=2),
    Column("positive share", "number", rank=2),
    Column("sign filter", "number", rank=2),
    Column("budget", "number", rank=2),
    Column("steps", "number", rank=2),
    Column("points", "number", rank=2),
    Column("combine", rank=2),
    Column("grad drop", rank=2),
    Column("rounds", "number", rank=2),
    Column("screen", "number", rank=2),
    Column("learning rate", "number", rank=2),
    Column("penalty", "number", rank=2),
    Column("block penalty", "number", rank=2),
    Column("neuron penalty", "number", rank=2),
    Column("consensus line", "number", rank=2),
    Column("dtype", rank=2),
    Column("experts", rank=2),
    Column("positions", rank=2),
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
    Column("pairs", "number", rank=4),
    Column("share", "number", rank=4),
    Column("KL", "number"),
    Column("faithfulness", "number", rank=4),
    Column("accuracy", "number", rank=3),
    Column("forced choice", "number", rank=3),
    Column("above null", "number", rank=4),
    Column("CMD", "number", rank=5),
    Column("CPR", "number", rank=5),
    Column("stability", "number", rank=5),
    Column("seconds", "number", rank=5),
)
FAILED_COLUMNS = (
    Column("run"),
    Column("task", "name"),
    Column("model", "name"),
    Column("method", rank=1),
    Column("seed", "number", rank=2),
    Column("tries", "number", rank=2),
    Column("problem", "prose"),
)


def run_rows(
    runs: Sequence[RunSummary], figures: Mapping[str, Figures] | None = None
) -> list[dict[str, str]]:
    """Return `runs` as rows of `COLUMNS`, those of evaluations only if some run has `figures`."""
    from acdc_pipeline.store.figures import faithfulness_of

    settings = differing_settings([run.spec for run in runs])
    known = figures or {}
    evaluated = any(run.run_id in known for run in runs)
    return [
        {
            **run_cells(run.run_id, run.spec),
            **differing,
            **result_cells(run.edges_kept, run.edges_total, run.metrics, run.wall_seconds),
            **(_own_evaluation_cells(run, known) if evaluated else {}),
            "faithfulness": format_number(
                faithfulness_of(run.metrics, run.spec.method.plain().get("metric"))
            ),
        }
        for run, differing in zip(runs, settings, strict=True)
    ]


def run_cells(run_id: str, spec: RunSpec) -> dict[str, str]:
    """Return what identifies a run as cells of `COLUMNS`."""
    from acdc_pipeline.specs import method_label

    return {
        "run": run_id[:8],
        "task": spec.task,
        "model": spec.model,
        "method": method_label(spec.method),
    }


def result_cells(
    kept: int | None, total: int | None, metrics: Mapping[str, float], seconds: float
) -> dict[str, str]:
    """Return the results of a run as cells of `COLUMNS`."""
    return {
        "edges kept": format_kept(kept, total),
        "share": format_kept_share(kept, total),
        "KL": format_number(without_rounding(metrics.get("kl"))),
        "accuracy": format_percent(metrics.get("accuracy")),
        "forced choice": format_percent(metrics.get("forced_choice")),
        "seconds": f"{seconds:.1f}",
    }


def _own_evaluation_cells(run: RunSummary, figures: Mapping[str, Figures]) -> dict[str, str]:
    metric = run.spec.method.plain().get("metric")
    return evaluation_cells(figures.get(run.run_id), metric)


def evaluation_cells(figures: Figures | None, metric: str | None) -> dict[str, str]:
    """Return an evaluation as cells of `COLUMNS`; a dash for what was not measured.

    Args:
        metric: the metric of the search, in which the areas were measured.
    """
    areas = {"CMD": None, "CPR": None}
    if figures is not None:
        areas = {"CMD": figures.cmd, "CPR": figures.cpr}
    return {
        "above null": format_percent(None if figures is None else figures.percentile),
        **{
            name: format_number(area) + (f" in {metric}" if metric and area is not None else "")
            for name, area in areas.items()
        },
        "stability": format_number(None if figures is None else figures.jaccard),
    }


def differing_settings(specs: Sequence[RunSpec]) -> list[dict[str, str]]:
    """Return, for each run, the settings in which two of the runs differ.

    Task and model are not settings; but their hashes are where one name has stood for more than
    one version. A setting that only some methods have does not tell those from the others: the
    method's name does.
    """
    plain = [_settings(spec) for spec in specs]
    differing = {
        column.name
        for column in SETTINGS
        if len({settings[column.name] for settings in plain if column.name in settings}) > 1
    }
    tasks = _has_versions((spec.task, spec.task_hash) for spec in specs)
    models = _has_versions((spec.model, spec.model_revision) for spec in specs)
    rows = [{name: settings.get(name, NONE) for name in differing} for settings in plain]
    for row, spec in zip(rows, specs, strict=True):
        if tasks:
            row["task version"] = spec.task_hash[:8]
        if models:
            row["weights"] = spec.model_revision[:8]
    return rows


def load_figures(results: Store, run_ids: Iterable[str]) -> Mapping[str, Figures]:
    """Return the evaluations of runs by run id; print a warning for each damaged one."""
    from acdc_pipeline.store import figures_of

    found = results.evaluations(run_ids)
    print_warnings(found.damaged)
    return {run_id: figures_of(some) for run_id, some in found.by_run.items()}


def suggest_filters(task: str | None, model: str | None, found: FoundRuns) -> str:
    """` (did you mean --task ioi?)` if no run has the name of a filter but a similar one."""
    known = {"--task": found.tasks, "--model": found.models}
    similar = [
        f"{option} {close}"
        for option, name in (("--task", task), ("--model", model))
        if name is not None
        and name not in known[option]
        and (close := nearest(name, known[option]))
    ]
    return f" (did you mean {' '.join(similar)}?)" if similar else ""


def print_failed(results: Store, fits: Callable[[RunSpec], bool]) -> None:
    """Print the failed runs that fit as a table, and a warning for each unreadable failure."""
    failures = results.failures()
    shown = _fitting_failures(failures, fits)
    if shown:
        print_table(FAILED_COLUMNS, [_failed_row(failure) for failure in shown])
        print_note("\nto retry them: acdc run SWEEP --retry-failed")
    elif failures:
        count = pluralize(len(failures), "failed run")
        print_note(f"none of {count} in {relative_path(results.url)} fits")
    else:
        print_note(f"no failed run in {relative_path(results.url)}")
    print_warnings(results.damaged_failures())


def print_failed_json(results: Store, fits: Callable[[RunSpec], bool]) -> None:
    """Print the failed runs that fit as one JSON document."""
    print_json(
        {
            "store": results.url,
            "failed": [
                _failure_document(failure)
                for failure in _fitting_failures(results.failures(), fits)
            ],
            "damaged": [error_document(damage) for damage in results.damaged_failures()],
        }
    )


def error_document(error: AcdcError) -> dict[str, Any]:
    """Return an error as JSON data."""
    return {"kind": type(error).__name__, "problem": error.problem, **error.parts()}


def _failure_document(failure: RunFailure) -> dict[str, Any]:
    return {
        "run_id": failure.run_id,
        **failure.spec.plain(),
        "error": {"kind": failure.kind, "problem": failure.problem, **failure.error().parts()},
        "attempts": failure.attempts,
        "worker": failure.worker,
        "traceback": list(failure.traceback),
    }


def _fitting_failures(
    failures: Iterable[RunFailure], fits: Callable[[RunSpec], bool]
) -> list[RunFailure]:
    fitting = (failure for failure in failures if fits(failure.spec))
    return sorted(fitting, key=lambda f: (f.spec.task, f.spec.model, f.run_id))


def _failed_row(failure: RunFailure) -> dict[str, str]:
    spec = failure.spec
    return {
        **run_cells(failure.run_id, spec),
        "seed": str(spec.seed),
        "tries": str(failure.attempts),
        "problem": str(failure.error()).splitlines()[0],
    }


def _settings(spec: RunSpec) -> dict[str, str]:
    names = ("prompts", "seed", "dtype", "experts", "positions")
    both = {name: getattr(spec, name) for name in names} | method_settings(spec.method)
    return {
        name.replace("_", " "): NONE if value is None else str(value)
        for name, value in both.items()
    }


def method_settings(method: Method) -> dict[str, Any]:
    """Return every parameter that `method` has, also those that its stored form leaves out.

    The line of a consensus only where there is one.
    """
    values = {name: getattr(method, name) for name in type(method).parameters()}
    if not values.get("consensus", 0):
        values.pop("consensus_line", None)
    return values


def _has_versions(pairs: Iterable[tuple[str, str]]) -> bool:
    """Return whether a name occurs with more than one version."""
    different = set(pairs)
    return len({name for name, _ in different}) < len(different)
