"""A circuit that `acdc evaluate` is given: read from `--edges`, or cut from a file of scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from acdc_pipeline.cli.options import shared
from acdc_pipeline.cli.options.parsers import parse_circuit
from acdc_pipeline.errors import InvalidInput, UnknownName

if TYPE_CHECKING:
    from acdc_pipeline.graph.files.circuit_file import CircuitFile
    from acdc_pipeline.specs import RunSpec, TaskSpec

CUT_OPTIONS = ("top", "share", "level", "select", "rank")
"""Options of a circuit that is cut from a file of scores."""

FILE_OPTIONS = (*CUT_OPTIONS, "neuron_basis")
"""Options of a circuit that is given."""

RANKS = ("magnitude", "signed")

MAX_NAME = 200
"""Longer values of `--edges` are lists of edges and not named in errors."""


def check_cut_options(given: Mapping[str, Any]) -> None:
    """Raise InvalidInput if the options of a cut contradict one another."""
    cuts = [name for name in CUT_OPTIONS if given[name] is not None]
    if given["top"] is not None and given["share"] is not None:
        raise InvalidInput("cannot go with --top", where="evaluate", field="--share")
    if cuts and given["top"] is None and given["share"] is None:
        raise InvalidInput(
            "is for a circuit that is cut from scores",
            where="evaluate",
            field=f"--{cuts[0]}",
            fix="add --top N or --share X",
        )
    if given["share"] is not None and not 0 <= given["share"] <= 1:
        raise InvalidInput(
            f"{given['share']:g} is not a share",
            where="evaluate",
            field="--share",
            allowed="0 to 1",
        )


def plan_given(given: Mapping[str, Any]) -> tuple[RunSpec, TaskSpec, CircuitFile]:
    """Read the circuit that `evaluate TASK MODEL --edges` names, and plan a run for it.

    The run is of a method that would find a circuit of its size.
    """
    from acdc_pipeline.specs import find_task
    from acdc_pipeline.workflows.discovery import run_of_circuit

    task = find_task(given["run"])
    file = _read_given(given, given["model"], given["edges"])
    spec = run_of_circuit(
        file.circuit,
        task,
        given["model"],
        metric=given["metric"],
        ablation=given["ablation"],
        prompts=given["prompts"] or 64,
        seed=given["seed"],
        dtype=given["dtype"],
        written=shared.option_name,
    )
    return spec, task, file


def _read_given(given: Mapping[str, Any], model: str, edges: str) -> CircuitFile:
    """Read the circuit, or cut it from the scores; check that its masks can be measured."""
    from acdc_pipeline.execution.plan import describe_supported
    from acdc_pipeline.graph.files.score_cut import LEVELS, SELECTIONS, Cut
    from acdc_pipeline.graph.neurons import NEURON_BASES
    from acdc_pipeline.specs import ModelRef
    from acdc_pipeline.workflows.circuit_files import check_measurable, choose_circuit

    how = None
    if given["top"] is not None or given["share"] is not None:
        how = Cut(
            given["top"],
            given["share"],
            _chosen("level", "--level", given["level"], LEVELS),
            _chosen("selection", "--select", given["select"], SELECTIONS),
            _chosen("rank", "--rank", given["rank"], RANKS) or "magnitude",
        )
    description = describe_supported(ModelRef.parse(model))
    try:
        file = parse_circuit(edges, description.topology, description.d_model)
        file = choose_circuit(file, how)
    except InvalidInput as error:
        raise error.at(edges if len(edges) < MAX_NAME else "--edges") from error.__cause__
    basis = _chosen("basis", "--neuron-basis", given["neuron_basis"], NEURON_BASES)
    if not file.masked:
        if basis is not None:
            problem = "is for a file with neuron masks, and this one has none"
            raise InvalidInput(problem, where=edges[:MAX_NAME], field="--neuron-basis")
        return file
    more = ("full", "null", "draws", "restarts", "resamples", "ablations", "adversarial", "svg")
    check_measurable(file, {name: given[name] for name in more}, "--{}".format)
    return file if basis is None else replace(file, basis=basis)


def _chosen(kind: str, option: str, value: str | None, known: tuple[Any, ...]) -> Any:
    if value is not None and value not in known:
        raise UnknownName.among(kind, value, known, where="evaluate", field=option)
    return value
