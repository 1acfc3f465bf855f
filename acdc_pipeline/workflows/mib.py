"""A submission to the MIB leaderboard from the searches of a store, and its scores beforehand."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from acdc_pipeline.engine import set_up
from acdc_pipeline.errors import AcdcError, InvalidInput
from acdc_pipeline.evaluation import FRACTIONS, circuits_at_fractions, measure_scale
from acdc_pipeline.evaluation.curve import circuits_from_scores
from acdc_pipeline.evaluation.mib import MibAreas, measure_mib
from acdc_pipeline.execution.worker import Worker, prompts_for
from acdc_pipeline.files import write_bytes
from acdc_pipeline.graph import Circuit
from acdc_pipeline.graph.selection import Selection
from acdc_pipeline.prompts.mib import LEADERBOARD, MIB_MODELS, MIB_TASKS, mib_pairs
from acdc_pipeline.prompts.prompt_set import PromptSet
from acdc_pipeline.specs import ModelRef, PairsGenerator, RunSpec, TaskSpec, circuit_method
from acdc_pipeline.specs.methods.base import BaseCircuitMethod
from acdc_pipeline.specs.run_task import task_of_run
from acdc_pipeline.store import Store
from acdc_pipeline.workflows.export import export_bytes
from acdc_pipeline.workflows.kept_evaluation import SIZES
from acdc_pipeline.workflows.mib_data import read_mib_rows
from acdc_pipeline.workflows.search_areas import SearchAreas

PREFIX = "mib-"
"""Tasks made from the data sets of MIB are called `mib-TASK_MODEL`."""

_ABLATIONS = {"corrupted": "patching"}

_LEFT_OUT = {"name", "metric", "ablation", *SIZES}
"""Parameters of a method that are not in the name of a folder."""


@dataclass(frozen=True)
class MibResult:
    """What was written of a search, and its scores.

    Args:
        folder: below that of the submission, METHOD/TASK_MODEL.
        listed: whether the leaderboard has a column for it.
        split: of MIB's data; `fresh` for prompts of a task that is not MIB's, of another seed than
            those of the search.
        prompts: how many of them were measured.
        areas: None if they were not measured, for the reason `problem`.
    """

    run: RunSpec
    folder: str
    listed: bool
    split: str
    prompts: int = 0
    areas: MibAreas | None = None
    problem: str | None = None


def mib_task_of(name: str) -> str | None:
    """Return the task of MIB that a task called `name` has its prompts from, or None."""
    found = name.removeprefix(PREFIX).partition("_")[0]
    return found if name.startswith(PREFIX) and found in MIB_TASKS else None


def folder_names(searches: Sequence[SearchAreas]) -> list[str]:
    """Return METHOD_ABLATION_edge/TASK_MODEL of each search.

    METHOD is the name of the method and every parameter of it that is not the default, beside the
    metric and the size of the circuit: `eap-select-ilp`. Of searches that differ in other settings,
    such as the seed, the run's first digits are part of METHOD.
    """
    names = [_folder_name(search.run) for search in searches]
    often = Counter(names)
    return [
        name if often[name] == 1 else name.replace("_", f"-{search.run.run_id()[:8]}_", 1)
        for name, search in zip(names, searches, strict=True)
    ]


def _folder_name(run: RunSpec) -> str:
    method = circuit_method(run.method)
    ref = ModelRef.parse(run.model)
    model = MIB_MODELS.get(ref.name) if ref.kind == "hf" else None
    if model is None:
        model = re.sub(r"[^a-z0-9.-]+", "-", Path(ref.name).name.lower())
    task = mib_task_of(run.task) or run.task.replace("_", "-")
    ablation = _ABLATIONS.get(method.ablation, method.ablation)
    return f"{_settings_name(method)}_{ablation}_edge/{task}_{model}"


def _settings_name(method: BaseCircuitMethod) -> str:
    usual = method.defaults()
    words = [method.name]
    for name, value in method.plain().items():
        if name not in _LEFT_OUT and value != usual.get(name):
            words.append(f"{name}-{value:g}" if isinstance(value, float) else f"{name}-{value}")
    return "-".join(words).replace("_", "-")


def _shares(method: BaseCircuitMethod) -> bool:
    """Whether scores are shares of the searches of a consensus, with many equal ones."""
    return getattr(method, "consensus", 0) > 0


def _kept_by(circuit: Circuit, share: float) -> Circuit:
    """The circuit of the edges that at least this share of the searches of a consensus kept."""
    kept = frozenset(edge for edge, value in circuit.scores.items() if value >= share)
    return replace(circuit, edges=Circuit(circuit.topology, kept).live_edges)


def write_search(store: Store, search: SearchAreas, folder: Path) -> list[Circuit]:
    """Write a search as the leaderboard reads it, and return its circuits, the largest last.

    A search with scores is `importances.json`, a score of every edge. One without is nine circuits,
    `0.1.json` to `50.json`: at each percentage the largest found of no more edges. So are one with
    `select`, `positive_share` or `sign_filter`, since its scores alone do not say what these rules
    cut, and a consensus, whose circuits are those of every line.

    Raises:
        InvalidInput: the runs have positions.
        GraphError: layers of the model differ in their parts.
    """
    if search.run.positions != "none":
        raise InvalidInput("MIB has no positions", field="positions")
    records = [store.get(summary.run_id) for summary in search.runs]
    largest = records[-1]
    circuit, method = largest.circuit, circuit_method(largest.spec.method)
    assert circuit is not None
    found = [record.circuit for record in records if record.circuit is not None]
    if circuit.is_scored and method.selection == Selection(method.ranking) and not _shares(method):
        files = {"importances.json": largest}
    else:
        if circuit.is_scored and _shares(method):
            found += [_kept_by(circuit, share) for share in set(circuit.scores.values())]
        elif circuit.is_scored:
            at = circuits_from_scores(circuit.topology, circuit.scores, method.selection)
            found = list(at.values())
        # without scores, so that they are measured as they are
        found = [replace(one, scores={}) for one in found]
        at = circuits_at_fractions(circuit.topology, found)
        files = {
            f"{100 * part:g}.json": replace(largest, circuit=at[part]) for part in FRACTIONS[:-1]
        }
    folder.mkdir(parents=True, exist_ok=True)
    for name, record in files.items():
        write_bytes(folder / name, export_bytes(record, "mib-json"))
    return found


def score_search(
    run: RunSpec,
    found: Sequence[Circuit],
    worker: Worker,
    split: str,
    data: Path | None,
    head: int | None,
) -> tuple[int, MibAreas]:
    """Return how many prompts a search was measured on, and its areas by MIB's protocol.

    Args:
        found: its circuits as `write_search` returns them.
        data: folder of MIB's data sets; None for the hub.
        head: the most prompts; None for all of the split, or as many as the search had.

    Raises what `read_mib_rows`, `mib_pairs`, `prompts_for` and `measure_scale` raise.
    """
    prompts = _split_prompts(worker, run, split, data, head)
    bench = set_up(worker.model(run).weights, prompts, "corrupted", None, worker.held_outputs)
    return len(prompts), measure_mib(bench, measure_scale(bench, "logit_diff"), found)


def _split_prompts(
    worker: Worker, run: RunSpec, split: str, data: Path | None, head: int | None
) -> PromptSet:
    model, name = worker.model(run), mib_task_of(run.task)
    if name is not None:
        if model.tokenizer is None:
            raise InvalidInput("has no tokenizer for the texts of MIB", where=run.model)
        pairs = mib_pairs(name, read_mib_rows(name, split, data), model.tokenizer, head)
        return prompts_for(model, TaskSpec.from_pairs(pairs), n=len(pairs), seed=0)
    task = task_of_run(run)
    if isinstance(task.generator, PairsGenerator):
        raise InvalidInput(
            f"'{run.task}' has no prompts beside those that were searched",
            fix="acdc tasks mib makes a task of MIB whose splits are known",
        )
    return prompts_for(model, task, n=head or run.prompts, seed=run.seed + 1)


def submit_searches(
    store: Store,
    searches: Sequence[SearchAreas],
    worker: Worker,
    folder: Path,
    split: str,
    data: Path | None,
    head: int | None,
) -> list[MibResult]:
    """Write every search into `folder`, an empty one, and score it.

    A search that cannot be says why.
    """
    results = []
    for search, name in zip(searches, folder_names(searches), strict=True):
        of_mib = mib_task_of(search.run.task) is not None
        listed = of_mib and name.partition("/")[2] in LEADERBOARD
        result = MibResult(search.run, name, listed, split if of_mib else "fresh")
        try:
            found = write_search(store, search, folder / name)
            prompts, areas = score_search(search.run, found, worker, split, data, head)
            results.append(replace(result, prompts=prompts, areas=areas))
        except AcdcError as error:
            # One search must not keep the others from being submitted; the table names the reason.
            results.append(replace(result, problem=str(error)))
    return results
