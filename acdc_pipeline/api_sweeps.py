"""The public functions over many runs: sweeps, regression and the wiki, from Python.

Each raises InvalidInput for an argument that is not valid; see `errors`.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from acdc_pipeline.regression import LEAST_SEEDS
from acdc_pipeline.workflows.executors import DEFAULT_PROFILE

if TYPE_CHECKING:
    from acdc_pipeline.execution.progress import SweepListener
    from acdc_pipeline.execution.runs import Outcome, PlannedRun
    from acdc_pipeline.regression.report import Report
    from acdc_pipeline.specs import SweepSpec, TaskSpec
    from acdc_pipeline.store import Store
    from acdc_pipeline.wiki.build import Built
    from acdc_pipeline.workflows.sweep import SweepResult


def sweep(
    sweep: SweepSpec | Path | str,
    *,
    store: Store | Path | str | None = None,
    profile: str = DEFAULT_PROFILE,
    executor: str | None = None,
    device: str | None = None,
    memory: int | None = None,
    threads: int | None = None,
    shard: str | None = None,
    retry_failed: bool = False,
    progress: SweepListener | None = None,
    tasks: Sequence[TaskSpec] = (),
) -> SweepResult:
    """Execute the runs of a sweep that the store does not have, as `acdc run` does.

        result = sweep("deploy/sweeps/zoo.yaml", store="results/runs")
        [record.metrics["kl"] for record in result.records], result.errors

    Args:
        sweep: a sweep, its name, or its `.yaml` file.
        store: a store, a folder or a URL; None for the default store.
        profile: name or file of a worker profile.
        executor: `local` for this process, `ray` for Ray actors; None for the profile's.
        device, memory: as for `discover`; None for the profile's.
        threads: CPU threads of torch in this process; None for the profile's.
        shard: part `I/N` of the sweep; None for all of it.
        retry_failed: whether to execute runs again that failed before.
        progress: listener to the sweep.
        tasks: tasks in memory, such as `Task.from_pairs` makes; the sweep names each by its name.

    Returns:
        the records and errors of the sweep. A run that fails does not stop the others.

    Raises:
        ExecutionFailed: nothing can be executed, such as where no cluster answers.
    """
    from acdc_pipeline.execution.shard import WHOLE, parse_shard
    from acdc_pipeline.specs import find_sweep
    from acdc_pipeline.store import as_store
    from acdc_pipeline.workflows.executors import execution_settings
    from acdc_pipeline.workflows.sweep import run_sweep

    settings = execution_settings(
        profile, executor=executor, device=device, memory=memory, threads=threads
    )
    part = WHOLE if shard is None else parse_shard(shard)
    spec = find_sweep(str(sweep)) if isinstance(sweep, str | Path) else sweep
    return run_sweep(
        spec,
        as_store(store),
        settings,
        shard=part,
        retry_failed=retry_failed,
        listener=progress,
        tasks=tasks,
    )


def regress(
    sweep: str = "regress",
    *,
    baselines: Path | str | None = None,
    replace: Mapping[str, str] | None = None,
    update_reason: str | None = None,
    seeds: int = LEAST_SEEDS,
    store: Store | Path | str | None = None,
    profile: str = DEFAULT_PROFILE,
    executor: str | None = None,
    device: str | None = None,
    memory: int | None = None,
    threads: int | None = None,
    progress: SweepListener | None = None,
) -> Report:
    """Find the circuits of a sweep again and compare them with baselines, as `acdc regress` does.

        report = regress("regress.yaml", baselines="results/baselines")
        report.exit_code, [str(verdict.cell) for verdict in report.verdicts]

    Args:
        sweep: name or `.yaml` file of the sweep.
        baselines: folder of the baselines; None for the project's, or those that ship.
        replace: models of the sweep, each with a model that takes its place.
        update_reason: why baselines change; if given, those of cells that drifted or have none
            are written, with this text.
        seeds: number of other samples of prompts for the tolerances of new baselines, at least 5.
        store: where the fresh runs go, which must not hold them yet; None for a temporary one.
        profile, executor, device, memory, threads, progress: as for `sweep`.

    Returns:
        the verdicts; `store` is None where the store was temporary.

    Raises:
        ExecutionFailed: a baseline cannot be written.
    """
    from acdc_pipeline.errors import InvalidInput, check_whole
    from acdc_pipeline.execution.progress import SilentSweep
    from acdc_pipeline.regression.baseline import baselines_folder, check_folders, choose_new_folder
    from acdc_pipeline.specs import ModelRef
    from acdc_pipeline.store import as_store
    from acdc_pipeline.workflows import regression
    from acdc_pipeline.workflows.executors import execute_runs, execution_settings, make_executor

    if update_reason is not None and not update_reason.strip():
        raise InvalidInput("a new baseline needs a reason", where="regress", field="update_reason")
    check_whole(seeds, "seeds", LEAST_SEEDS, where="regress")
    given = None if baselines is None else Path(baselines)
    known, folder = baselines_folder(given), choose_new_folder(given)
    check_folders(known, None if update_reason is None else folder)
    settings = execution_settings(
        profile, executor=executor, device=device, memory=memory, threads=threads
    )
    replacements = {ModelRef.parse(a): ModelRef.parse(b) for a, b in (replace or {}).items()}
    name, cells = regression.plan_cells(sweep, settings.profile, replacements)
    with tempfile.TemporaryDirectory(prefix="acdc-regress-") as temporary:
        results = as_store(temporary if store is None else store)
        regression.check_fresh(results, cells)

        def execute(runs: Sequence[PlannedRun]) -> Iterable[Outcome]:
            if not runs:
                return ()
            return execute_runs(runs, results, make_executor(settings), progress or SilentSweep())

        report = regression.run_regression(name, cells, execute, results, known)
        if update_reason is not None:
            report = regression.update_baselines(
                report, cells, execute, results, folder, update_reason.strip(), seeds
            )
    return dataclasses.replace(report, store=None) if store is None else report


def build_wiki(
    store: Store | Path | str | None = None,
    out: Path | str | None = None,
    *,
    notes: Path | str | None = None,
    jobs: int | None = None,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Built:
    """Build the static wiki of a store, as `acdc wiki build` does.

        build_wiki("results/runs", "public").out / "index.html"

    Args:
        store: a store, a folder or a URL; None for the default store.
        out: folder of the site; None for `results/wiki` of the project folder or `acdc-wiki`.
        notes: folder of hand-written notes; None for `results/notes` of the project folder.
        jobs: number of processes; None for one per core.
        progress: called with the current step, the pages done and their total.

    Raises:
        InvalidInput: an argument is not valid, or `out` holds other files.
        ExecutionFailed: a process was killed, or another build writes to `out`.
    """
    from acdc_pipeline.store import as_store
    from acdc_pipeline.workflows.site import build_site

    folder, texts = (None if path is None else Path(path) for path in (out, notes))
    return build_site(as_store(store, "read"), folder, notes=texts, jobs=jobs, progress=progress)
