"""What people read about the compiled models: a card for each, and a page about all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import get_args

from acdc_pipeline.graph import Circuit
from acdc_pipeline.models.zoo.compiled.program import Program
from acdc_pipeline.plotting.circuit import draw_circuit
from acdc_pipeline.specs.names import Ablation

COMMAND = "python -m acdc_pipeline.models.zoo.compiled --out DIR"
ABLATIONS = get_args(Ablation)
PAGE = "compiled-models.md"
MARKS = ("<!-- table: written by the command below -->", "<!-- end of the table -->")


def readme(program: Program) -> str:
    """The card that stands beside the weights."""
    parts = [
        f"# {program.name}: {program.title}",
        f"{program.behaviour}, on the prompts of the task `{program.task}`."
        " The weights were set by hand, so the circuit is known.",
        program.how,
        "## True edges",
        _edges(program),
        "`yes`: the answers need the edge when removed edges carry that ablation.",
    ]
    if program.paths:
        parts += [
            f"The paths are redundant: {_and(program.paths)}. Each suffices with every edge outside"
            " it removed, and has no edge to spare then."
        ]
    if program.found_by_acdc:
        found = [
            f"- `{order}`: {', '.join(f'`{edge}`' for edge in edges)}"
            for order, edges in program.found_by_acdc.items()
        ]
        parts += [
            "## What ACDC finds",
            f"{program.found_because} By the order of heads inside a layer, exact ACDC returns",
            "\n".join(found),
        ]
    if program.heads:
        rows = [(f"`{head.head}`", _and(head.kinds), head.why) for head in program.heads]
        parts += ["## Heads", table(("head", "what it is on any tokens", "because"), rows)]
    return "\n\n".join([*parts, f"Written by `{COMMAND}`."]) + "\n"


def _edges(program: Program) -> str:
    rows = [
        (
            f"`{edge.edge}`",
            *("yes" if ablation in edge.ablations else "" for ablation in ABLATIONS),
            *([edge.path or "both"] if program.paths else []),
            edge.why,
        )
        for edge in program.edges
    ]
    return table(("edge", *ABLATIONS, *(["path"] if program.paths else []), "why"), rows)


def write_page(programs: Sequence[Program], docs: Path) -> None:
    """Write the table of `docs`/compiled-models.md anew, between its marks, and the pictures."""
    page = docs / PAGE
    before, mark, rest = page.read_text(encoding="utf-8").partition(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    text = f"{before}{mark}\n\n{overview(programs)}\n\n{MARKS[1]}{after}"
    page.write_text(text, encoding="utf-8")
    pictures = docs / page.stem
    pictures.mkdir(exist_ok=True)
    for program in programs:
        (pictures / f"{program.name}.svg").write_text(picture(program), encoding="utf-8")


def overview(programs: Iterable[Program]) -> str:
    """A row for each program."""
    rows = []
    for program in programs:
        shape = program.build().shape
        mlp = ", MLPs" if shape.d_mlp else ""
        true = [sum(a in edge.ablations for edge in program.edges) for a in ABLATIONS]
        heads = "; ".join(f"`{head.head}` {_and(head.kinds)}" for head in program.heads)
        rows.append(
            (
                f"[`{program.name}`](compiled-models/{program.name}.svg)",
                program.behaviour.replace("<bos> ", "").replace('"', "`"),
                program.shows,
                f"{shape.n_layers} x {shape.n_heads}{mlp}",
                f"{' / '.join(map(str, true))} of {shape.topology.n_edges}",
                heads,
            )
        )
    columns = ("model", "behaviour", "what it tests", "layers x heads", "true edges", "heads")
    return table(columns, rows)


def picture(program: Program) -> str:
    """Every true edge, as a standalone SVG."""
    edges = [edge.edge for edge in program.edges]
    circuit = Circuit.of(program.build().shape.topology, edges)
    return draw_circuit(circuit, title=program.name, subtitle=program.title)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; a bar inside a cell stays a bar."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
