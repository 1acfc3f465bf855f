"""Read a circuit from a file of this package or of another, whatever its format."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acdc_pipeline.errors import GraphError, InvalidInput
from acdc_pipeline.graph import Circuit, Topology
from acdc_pipeline.graph.files.circuit_file import CircuitFile, listed
from acdc_pipeline.graph.files.score_cut import Cut, cut_file
from acdc_pipeline.specs.base import read_json_once

if TYPE_CHECKING:
    import torch

    from acdc_pipeline.models.weights import TransformerWeights
    from acdc_pipeline.specs import RunSpec

READ = (
    "node-link or EAP-IG (MIB) graph JSON, EAP-IG's .pt, auto-circuit's scores, the original "
    "ACDC's .pth, JSON lists of edges or pairs of nodes, one edge a line"
)
"""The formats that are read."""

_NEEDED = re.compile(r"(?:Unsupported global: GLOBAL|Unsupported class) ([\w.]+)")


def read_circuit_file(path: Path, topology: Topology, d_model: int | None) -> CircuitFile:
    """Return everything that the file at `path` says of a circuit of a model.

    A key, name or value that is not known is refused: a file is never read in part.

    Args:
        topology, d_model: graph and width of the model.

    Raises:
        InvalidInput: the file cannot be read, holds no circuit, or one of another graph.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidInput(
            f"cannot be read: {error.strerror}", where=str(path), allowed=READ
        ) from error
    try:
        try:
            text = content.decode()
        except UnicodeDecodeError:
            file = _read_saved(_load_tensors(path), topology)
        else:
            if content.startswith(b"PK\x03\x04"):  # a small archive may be text to its last byte
                file = _read_saved(_load_tensors(path), topology)
            else:
                file = _read_text(text, topology)
        file.require(topology, d_model)
    except InvalidInput as error:
        raise error.at(str(path)) from error.__cause__
    return file


def choose_circuit(
    file: CircuitFile, how: Cut | None, sizes: str = "--top N or --share X"
) -> CircuitFile:
    """Return the file with its own circuit, or with the one that `how` cuts from its scores.

    Args:
        sizes: how errors write the options of a size.

    Raises:
        GraphError: the circuit cannot be cut so.
        InvalidInput: no cut is given, and the file has scores and no circuit.
    """
    if how is not None:
        return cut_file(file, how)
    if file.circuit.edges or file.form == "node-link":
        return file
    raise InvalidInput(
        "has scores and no edge in the circuit" if _has_scores(file) else "has no edge in it",
        fix=f"cut a circuit from its scores: {sizes}" if _has_scores(file) else None,
    )


def check_measurable(
    file: CircuitFile, requested: Mapping[str, object], written: Callable[[str], str] = str
) -> None:
    """Raise InvalidInput if more than its own metrics is requested of a circuit with masks.

    Args:
        requested: the arguments that add measurements; a false value adds none.
        written: how errors write the name of an argument.
    """
    for name, value in requested.items():
        if file.masked and value:
            raise InvalidInput(
                "cannot be measured of a circuit with neuron masks",
                where="evaluate",
                field=written(name),
                fix="leave it out: the circuit's own metrics are measured",
            )


def mask_figures(file: CircuitFile) -> dict[str, Any]:
    """Return what neuron masks leave of the circuit, as JSON data; nothing without any.

    `weighted_edges` counts every edge by the share of its source's dimensions that it carries.
    """
    if not file.masked or file.neurons is None:
        return {}
    kept = dict(zip(file.topology.sources, file.neurons.sum(axis=1).tolist(), strict=True))
    d_model = file.neurons.shape[1]
    weighted = sum(kept[edge.src] for edge in file.circuit.edges) / d_model
    by_node = {str(node): kept[node] for node in file.masked}
    return {"neurons": {"d_model": d_model, "kept": by_node, "weighted_edges": weighted}}


def notes_on(
    file: CircuitFile,
    run: RunSpec,
    weights: TransformerWeights,
    centred: str = "--neuron-basis centred",
) -> list[str]:
    """Return what the tool that wrote the file would compute differently, as sentences.

    Args:
        centred: how the option of the centred basis is written.
    """
    from acdc_pipeline.specs import circuit_method

    notes = list(file.notes)
    dead = len(file.circuit.edges) - len(file.circuit.live_edges)
    exact = circuit_method(run.method).ablation == "corrupted"
    if file.cut_off and not exact:
        notes.append(
            f"{listed(file.cut_off)}: the query, key or value is cut off from its input; the "
            "removal of every edge into it is the same under corrupted ablation only"
        )
    if dead and file.form == "EAP-IG graph" and not exact:
        notes.append(
            f"{dead} edges are on no path from input to logits: EAP-IG removes them before it "
            "evaluates, which under this ablation may change the result"
        )
    if file.masked and file.basis == "stored" and weights.norm_final.kind == "layer":
        notes.append(
            "neuron masks are taken as those of the model's outputs as its weights are stored; "
            "TransformerLens by default centres the weights of models with LayerNorm: for masks "
            f"made with it (EAP-IG, MIB) add {centred}"
        )
    return notes


def _has_scores(file: CircuitFile) -> bool:
    scores = (*file.circuit.scores.values(), *file.node_scores.values())
    return any(scores) or file.neuron_scores is not None


def _read_text(text: str, topology: Topology) -> CircuitFile:
    from acdc_pipeline.graph.files.edge_list import read_edge_lines

    start = text.lstrip()
    if start.startswith(("<", "digraph")):
        raise InvalidInput(
            "looks like GraphML, SVG or DOT, which can be written but not read",
            allowed=READ,
            fix="export the circuit with --format node-link or mib-json",
        )
    if start.startswith(("{", "[")):
        try:
            document = read_json_once(text)
        except ValueError as error:
            raise InvalidInput(f"is not JSON: {error}", allowed=READ) from error
        return _read_document(document, topology)
    return _edge_list(read_edge_lines(text, topology))


def _read_document(document: Any, topology: Topology) -> CircuitFile:
    from acdc_pipeline.graph.files.eap_ig_json import read_eap_ig_json
    from acdc_pipeline.graph.files.edge_list import read_edge_json
    from acdc_pipeline.graph.node_link import from_node_link

    if isinstance(document, list):
        return _edge_list(read_edge_json(document, topology))
    if "cfg" in document:
        return read_eap_ig_json(document)
    return CircuitFile("node-link", from_node_link(document))


def _edge_list(circuit: Circuit) -> CircuitFile:
    if not circuit:
        raise InvalidInput("names no edge", allowed=READ)
    return CircuitFile("edge list", circuit)


def _load_tensors(path: Path) -> Any:
    """Return the contents of a file of torch, tensors as arrays, without running its code."""
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of unusual pickles; whether it loads decides
            contents = torch.load(path, map_location="cpu", weights_only=True)
    # torch raises whatever the reader of the archive or of the pickle raises
    except Exception as error:
        needed = _NEEDED.search(str(error))
        raise InvalidInput(
            "is not text, and torch cannot load it with weights_only=True"
            + (f": it needs {needed[1]}" if needed else ""),
            allowed=READ,
            fix="if it holds objects of the program that wrote it, save their plain contents "
            "there, where you trust the file: torch.save({name: tensor.detach().cpu() for name, "
            "tensor in scores.items()}, 'scores.pt'), or one edge a line",
        ) from error
    return _as_arrays(contents)


def _as_arrays(value: Any) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        return _array(value)
    if isinstance(value, Mapping):
        return {key: _as_arrays(one) for key, one in value.items()}
    return value


def _array(tensor: torch.Tensor) -> Any:
    import torch

    tensor = tensor.detach()
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
        raise InvalidInput(f"has a tensor of {tensor.dtype}, {tensor.layout}", allowed=READ)
    # numpy has no bfloat16
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


def _read_saved(contents: Any, topology: Topology) -> CircuitFile:
    from acdc_pipeline.graph.files.auto_circuit import is_auto_circuit, read_auto_circuit_scores
    from acdc_pipeline.graph.files.eap_ig_pt import read_eap_ig_matrices
    from acdc_pipeline.graph.files.original_acdc import is_subgraph, read_subgraph

    if isinstance(contents, Mapping):
        if "cfg" in contents or "edges_scores" in contents:
            return read_eap_ig_matrices(contents)
        if is_subgraph(contents):
            return read_subgraph(contents, topology)
        if is_auto_circuit(contents):
            return read_auto_circuit_scores(contents, topology)
        if inside := _paths_to_scores(contents):
            raise GraphError(
                f"holds the scores of several searches: {', '.join(inside)}",
                fix=f"save the ones to use: torch.save(torch.load(FILE){inside[0]}, 'scores.pt')",
            )
    raise GraphError(f"holds no circuit, but {_described(contents)}", allowed=READ)


def _paths_to_scores(contents: Mapping[Any, Any], path: str = "") -> list[str]:
    """Where auto-circuit's scores lie in its dictionaries of tasks and methods."""
    from acdc_pipeline.graph.files.auto_circuit import is_auto_circuit

    found: list[str] = []
    for key, value in contents.items():
        if isinstance(value, Mapping):
            here = f"{path}[{key!r}]"
            found += [here] if is_auto_circuit(value) else _paths_to_scores(value, here)
    return found


def _described(contents: Any) -> str:
    from acdc_pipeline.graph.files.circuit_file import listed

    if isinstance(contents, Mapping):
        return f"a dictionary of {listed(contents) or 'nothing'}"
    return f"a {type(contents).__name__}"
