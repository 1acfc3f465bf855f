"""Baselines: the expected circuit of a cell, committed as a small text file."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_serializer, model_validator

from acdc_pipeline.errors import (
    AcdcError,
    BaselineError,
    ExecutionFailed,
    GraphError,
    InvalidInput,
)
from acdc_pipeline.files import check_folder_writable
from acdc_pipeline.graph import Circuit, Edge, Topology
from acdc_pipeline.graph.consensus import Consensus, Role
from acdc_pipeline.graph.topology import LISTS
from acdc_pipeline.models.fingerprint import Fingerprint
from acdc_pipeline.regression.cell import CellSpec, differences
from acdc_pipeline.regression.finding import EDGES, HEADS, SIZE, Finding, Tolerance
from acdc_pipeline.specs import Spec, bundled_folder, find_project, parse
from acdc_pipeline.specs.base import read_json, rejection

SCHEMA_VERSION = 1

FOLDER = Path("results") / "baselines"

UPDATE = "acdc regress --update-baseline --reason TEXT makes it anew"


class GraphShape(Spec):
    """The full graph that a circuit was cut from; see `Topology`."""

    n_layers: int
    n_heads: int
    has_mlp: bool
    parallel: bool
    layers: tuple[str, ...] = ()
    experts: tuple[int, ...] = ()
    shared: tuple[int, ...] = ()
    spans: tuple[str, ...] = ()
    answer_spans: tuple[str, ...] = ()
    sees: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check_graph(self) -> Self:
        """Refuse what is no graph."""
        try:
            self.topology()
        except GraphError as error:
            raise rejection(error.field or "", error.problem, allowed=error.allowed) from error
        return self

    def topology(self) -> Topology:
        """Return the graph."""
        return Topology(**{name: getattr(self, name) for name in type(self).model_fields})

    @model_serializer(mode="wrap")
    def _without_empty(self, write: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """Leave out the lists that are empty."""
        return {name: value for name, value in write(self).items() if value or name not in LISTS}


class ExpectedConsensus(Spec):
    """What the searches of a consensus agreed on, without its OR groups; see `Consensus`."""

    searches: int = Field(ge=2)
    line: float = Field(ge=0, lt=1)
    kept: dict[str, int]
    roles: dict[str, Role]

    @model_validator(mode="after")
    def _check_edges(self) -> Self:
        """Refuse edges that have only a count or only a role, and counts of more than all."""
        if self.kept.keys() != self.roles.keys():
            raise rejection("roles", "are not of the edges that were kept")
        if not all(0 <= kept <= self.searches for kept in self.kept.values()):
            raise rejection("kept", f"has more than {self.searches} searches, or less than none")
        return self

    @classmethod
    def of(cls, consensus: Consensus) -> Self:
        """Return it as it is stored in a baseline."""
        return cls(
            searches=consensus.searches,
            line=consensus.line,
            kept={str(edge): kept for edge, kept in consensus.kept.items()},
            roles={str(edge): role for edge, role in consensus.roles.items()},
        )

    def consensus(self) -> Consensus:
        """Return the consensus. Raises GraphError for what is no edge."""
        kept = {Edge.parse(edge): count for edge, count in self.kept.items()}
        roles: dict[Edge, Role] = {Edge.parse(edge): role for edge, role in self.roles.items()}
        return Consensus(self.searches, self.line, kept, roles)


class Baseline(Spec):
    """The expected result of a cell, its conditions, and its tolerance.

    Args:
        reason: why the baseline was made or changed, in the words of its author.
        edges: the circuit's edges, each with its score; null where the method gives none.
        consensus: of the searches that agree on the circuit; left out of the file where one search
            found it.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    cell: CellSpec
    reason: str
    task_hash: str
    method_version: int
    code_version: str
    run_id: str
    model: Fingerprint
    environment: dict[str, str]
    graph: GraphShape
    edges: dict[str, float | None]
    metrics: dict[str, float]
    tolerance: Tolerance
    consensus: ExpectedConsensus | None = None

    @model_serializer(mode="wrap")
    def _without_no_consensus(self, write: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return {n: v for n, v in write(self).items() if n != "consensus" or v is not None}

    @model_validator(mode="after")
    def _check_limits(self) -> Self:
        """Refuse a file without limits: a statistic without a limit is not compared."""
        missing = [name for name in (EDGES, HEADS, SIZE) if name not in self.tolerance.limits]
        if missing:
            raise rejection("tolerance.limits", f"has none for {', '.join(missing)}")
        return self

    def finding(self) -> Finding:
        """Return the expected result. Raises GraphError for edges that the graph does not have."""
        topology = self.graph.topology()
        scores = {Edge.parse(e): score for e, score in self.edges.items() if score is not None}
        agreed = None if self.consensus is None else self.consensus.consensus()
        for edge in () if agreed is None else agreed.kept:
            topology.check(edge)
        return Finding(Circuit.of(topology, self.edges, scores), self.metrics, agreed)


def baselines_folder(given: Path | None) -> Path:
    """Return the folder of the baselines: `given`, else the project's, else the bundled one."""
    if given is not None:
        return given
    project = find_project()
    if project is not None and (project / FOLDER).is_dir():
        return project / FOLDER
    shipped = bundled_folder() / FOLDER
    return shipped if shipped.is_dir() else choose_new_folder(None)


def choose_new_folder(given: Path | None) -> Path:
    """Return the folder for new baselines: `given`, else one in the project or working folder."""
    return (find_project() or Path.cwd()) / FOLDER if given is None else given


def check_folders(folder: Path, written: Path | None) -> None:
    """Raise InvalidInput if baselines cannot be read from `folder` or written to `written`."""
    for path in (folder, *(() if written is None else (written,))):
        if path.exists() and not path.is_dir():
            raise InvalidInput("is not a folder", where=str(path), field="baselines")
    if written is not None:
        check_folder_writable(written, field="baselines")


def graph_shape(topology: Topology) -> GraphShape:
    """Return the shape of a graph as it is stored in a baseline."""
    lists = {name: getattr(topology, name) for name in LISTS}
    return GraphShape(**{**topology.as_dict(), **lists})


def encode(baseline: Baseline) -> bytes:
    """Return the bytes of the file, always the same for the same baseline."""
    text = json.dumps(
        baseline.plain(), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False
    )
    return (text + "\n").encode()


def baseline_path(folder: Path, cell: CellSpec) -> Path:
    """Return the path of the baseline of `cell`, whether or not it exists."""
    return folder / f"{cell.stem}.json"


def read_baseline(folder: Path, cell: CellSpec) -> Baseline | None:
    """Return the baseline of `cell`, or None if its file does not exist.

    Raises:
        BaselineError: the file is damaged, has another schema version, or holds another cell.
    """
    path = baseline_path(folder, cell)
    try:
        # reading a pipe would block, and reading a device might never end
        if path.exists() and not path.is_file():
            raise BaselineError("is not a file")
        baseline = parse(read_json(path.read_bytes()), Baseline, path.name)
        baseline.finding()
    except FileNotFoundError:
        return None
    except AcdcError as error:
        problem = ": ".join(part for part in (error.field, error.problem) if part)
        raise BaselineError(problem, where=path.name, allowed=error.allowed, fix=UPDATE) from error
    except (OSError, ValueError) as error:
        raise BaselineError(f"cannot be read: {error}", where=path.name, fix=UPDATE) from error
    if baseline.cell != cell:
        raise BaselineError(
            f"was made for another question: {'; '.join(differences(baseline.cell, cell))}",
            where=path.name,
            fix=UPDATE,
        )
    return baseline


def write_baseline(folder: Path, baseline: Baseline) -> Path:
    """Write the file of `baseline` atomically and return its path. Raises ExecutionFailed."""
    path = baseline_path(folder, baseline.cell)
    beside = path.with_name(f".{path.name}.new")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(encode(baseline))
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        raise ExecutionFailed(
            f"cannot be written: {error.strerror or error}", where=str(path)
        ) from error
    return path


def find_unused(folder: Path, cells: list[CellSpec]) -> tuple[str, ...]:
    """Return the names of the baseline files that belong to no cell."""
    used = {baseline_path(folder, cell).name for cell in cells}
    return tuple(sorted(p.name for p in folder.glob("*.json") if p.name not in used))
