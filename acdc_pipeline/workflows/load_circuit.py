"""Read a circuit file from Python, or cut a circuit from the scores in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from acdc_pipeline.errors import InvalidInput, UnknownName, check_whole
from acdc_pipeline.graph import Topology
from acdc_pipeline.graph.circuit import Rank
from acdc_pipeline.graph.files.circuit_file import CircuitFile
from acdc_pipeline.graph.files.score_cut import LEVELS, SELECTIONS, Cut, Level, Selection
from acdc_pipeline.graph.neurons import NEURON_BASES, NeuronBasis
from acdc_pipeline.workflows.circuit_files import choose_circuit, read_circuit_file

if TYPE_CHECKING:
    from acdc_pipeline.models.memory import MemoryModel
    from acdc_pipeline.specs import ModelRef


def load_circuit(
    path: Path | str,
    model: ModelRef | MemoryModel | Topology | str,
    *,
    top: int | None = None,
    share: float | None = None,
    level: Level | None = None,
    select: Selection | None = None,
    rank: Rank | None = None,
    neuron_basis: NeuronBasis | None = None,
) -> CircuitFile:
    """Read the circuit file of another tool, whole, as `acdc evaluate --edges` does.

        given = load_circuit("importances.pt", "zoo:gpt2-4l-s0", share=0.05)
        evaluate(given, "ioi", "zoo:gpt2-4l-s0").faithfulness
        given.circuit.draw()

    docs/circuit-files.md lists the formats (EAP-IG and MIB, auto-circuit, the original ACDC,
    node-link JSON, lists of edges). Nothing in a file is executed.

    Args:
        path: the file; its contents decide what format it has.
        model: a model as for `discover`, or the graph (`topology`) of one.
        top, share: size of a circuit that is cut from the scores in the file: how many edges,
            nodes or neurons, or the share of them. Without either, the file's own circuit.
        level: what is counted: edge, node or neuron; None for what has scores.
        select: how edges are cut: top-n, greedy, threshold or connected; None for threshold with
            auto-circuit's scores, else top-n.
        rank: by magnitude (None) or signed.
        neuron_basis: of which outputs neuron masks are: stored (None) or centred.

    Returns:
        what the file says: `circuit`, `masks` (of neurons, or None), `node_scores` and `notes` on
        what the tool that wrote it would compute differently. `evaluate` takes it, with its masks.

    Raises:
        InvalidInput: the file cannot be read, holds no circuit, or one of another graph; or an
            option is not valid.
    """
    how = _cut(top=top, share=share, level=level, select=select, rank=rank)
    _check_choice("basis", "neuron_basis", neuron_basis, NEURON_BASES)
    topology, d_model = _shape(model)
    path = Path(path)
    try:
        file = choose_circuit(
            read_circuit_file(path, topology, d_model), how, sizes="top=N or share=X"
        )
    except InvalidInput as error:
        raise error.at(str(path)) from error.__cause__
    if neuron_basis is None:
        return file
    if not file.masked:
        raise InvalidInput(
            "is for a file with neuron masks, and this one has none",
            where=str(path),
            field="neuron_basis",
        )
    return replace(file, basis=neuron_basis)


def _cut(*, top: int | None, share: float | None, **how: Any) -> Cut | None:
    """Return the cut, or None where no size is given. Raises InvalidInput."""
    where = "load_circuit"
    _check_choice("level", "level", how["level"], LEVELS)
    _check_choice("selection", "select", how["select"], SELECTIONS)
    _check_choice("rank", "rank", how["rank"], get_args(Rank))
    if top is not None and share is not None:
        raise InvalidInput("cannot go with top", where=where, field="share", fix="give one of both")
    if top is None and share is None:
        if given := [name for name, value in how.items() if value is not None]:
            raise InvalidInput(
                "is for a circuit that is cut from scores",
                where=where,
                field=given[0],
                fix="add top=N or share=X",
            )
        return None
    if top is not None:
        check_whole(top, "top", 0, where=where)
    if share is not None and not (isinstance(share, int | float) and 0 <= share <= 1):
        raise InvalidInput(f"{share} is not a share", where=where, field="share", allowed="0 to 1")
    return Cut(top, share, how["level"], how["select"], how["rank"] or "magnitude")


def _check_choice(kind: str, field: str, value: str | None, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        raise UnknownName.among(kind, str(value), known, where="load_circuit", field=field)


def _shape(model: Any) -> tuple[Topology, int | None]:
    """Return graph and width of a model; of a reference only its files' description is read."""
    if isinstance(model, Topology):
        return model, None
    from acdc_pipeline.execution.plan import describe_supported
    from acdc_pipeline.models.memory import resolve_model
    from acdc_pipeline.specs import ModelRef

    found = resolve_model(model)
    if isinstance(found, ModelRef):
        description = describe_supported(found)
        return description.topology, description.d_model
    loaded = found.load("float32", "cpu")
    return loaded.topology, loaded.weights.d_model
