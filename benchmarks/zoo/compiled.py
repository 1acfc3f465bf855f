"""Write the compiled models, the prompts of their tasks, and their page of the documentation.

python -m benchmarks.zoo.compiled \
    --out acdc_pipeline/models/zoo/weights --tasks tasks --docs docs
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import yaml
from tokenizers import pre_tokenizers

from acdc_pipeline.graph import Circuit
from acdc_pipeline.models.tl_format import save_tl_directory
from acdc_pipeline.models.zoo.compiled.catalogue import PROGRAMS
from acdc_pipeline.models.zoo.compiled.program import Program
from acdc_pipeline.models.zoo.compiled.truth import SPANS_FILE, TRUTH_FILE
from acdc_pipeline.models.zoo.tokenizer import fast, word_level
from acdc_pipeline.plotting.circuit import draw_circuit
from acdc_pipeline.specs.names import Ablation

COMMAND = "python -m benchmarks.zoo.compiled --out DIR"
ABLATIONS = get_args(Ablation)
PAGE = "compiled-models.md"
PAIRS = 256
MARKS = ("<!-- table: written by the command below -->", "<!-- end of the table -->")


def write_model(program: Program, out: Path) -> Path:
    """Write the zoo directory of `program` below `out`, reproducible to the byte, and return it."""
    directory = out / program.name
    builder = program.build()
    tokenizer = word_level(program.vocabulary)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    # Half precision is exact: all weights are short binary fractions.
    tensors = {name: tensor.half() for name, tensor in builder.tensors().items()}
    shape = builder.shape
    save_tl_directory(directory, shape.config, tensors, fast(tokenizer, shape.n_ctx))
    _write_json(directory / TRUTH_FILE, _truth_document(program))
    _write_json(directory / SPANS_FILE, _spans_document(program))
    _write_json(directory / "card.json", _card_document(program))
    (directory / "README.md").write_text(_format_readme(program), encoding="utf-8")
    return directory


def write_task_data(program: Program, tasks: Path) -> None:
    """Write prompts and true circuit into the task folder of `program`, if it has its own task."""
    if not program.has_own_task:
        return
    folder = tasks / program.task
    folder.mkdir(parents=True, exist_ok=True)
    if program.pairs is not None:
        lines = "".join(f"{json.dumps(pair)}\n" for pair in islice(program.pairs(), PAIRS))
        (folder / "pairs.jsonl").write_text(lines, encoding="utf-8")
    circuit = yaml.safe_dump(_circuit_document(program), sort_keys=False, width=100)
    (folder / "circuit.yaml").write_text(circuit, encoding="utf-8")


def _truth_document(program: Program) -> dict[str, Any]:
    """Return the content of truth.json."""
    return {
        "model": program.name,
        "task": program.task,
        "graph": program.build().shape.topology.as_dict(),
        "edges": {
            ablation: [
                {"edge": edge.edge, "why": edge.why}
                | ({} if edge.path is None else {"path": edge.path})
                for edge in program.edges
                if ablation in edge.ablations
            ]
            for ablation in ABLATIONS
        },
        "found_by_acdc": {order: list(edges) for order, edges in program.found_by_acdc.items()},
        "heads": [
            {"head": head.head, "kinds": list(head.kinds), "why": head.why}
            for head in program.heads
        ],
    }


def _spans_document(program: Program) -> dict[str, Any]:
    """Return the content of truth_spans.json."""
    return {
        "model": program.name,
        "task": program.task,
        "positions": "spans",
        "ablation": "corrupted",
        "edges": [name for edge in program.edges for name in edge.with_spans],
    }


def _circuit_document(program: Program) -> dict[str, Any]:
    """Return the content of circuit.yaml in the task folder."""
    return {
        "model": f"zoo:{program.name}",
        "source": "known by construction: the weights were set by hand",
        "ablation": "corrupted",
        "edges": [edge.edge for edge in program.edges if "corrupted" in edge.ablations],
        "note": f"the edges under other ablations stand in {TRUTH_FILE} beside the model",
    }


def _card_document(program: Program) -> dict[str, Any]:
    """Return the content of card.json, with the fields of the cards of trained models.

    Nothing was trained, so every prompt is held out.
    """
    return {
        "name": program.name,
        "architecture": "compiled",
        "title": program.title,
        "shows": program.shows,
        "tasks": [program.task],
        "held_out_accuracy": {program.task: 1.0},
        "required_accuracy": {program.task: 1.0},
        "training": None,
        "reproduce": COMMAND,
        "truth": TRUTH_FILE,
    }


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    text = json.dumps(document, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def _format_readme(program: Program) -> str:
    """Return the README.md beside the weights."""
    parts = [
        f"# {program.name}: {program.title}",
        f"{program.behaviour}, on the prompts of the task `{program.task}`."
        " The weights were set by hand, so the circuit is known.",
        program.how,
        "## True edges",
        _format_edges(program),
        "`yes`: the answers need the edge when removed edges carry that ablation.",
    ]
    if program.paths:
        parts += [
            f"The paths are redundant: {_join(program.paths)}. Each suffices with every edge"
            " outside it removed, and has no edge to spare then."
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
        rows = [(f"`{head.head}`", _join(head.kinds), head.why) for head in program.heads]
        parts += ["## Heads", _format_table(("head", "what it is on any tokens", "because"), rows)]
    return "\n\n".join([*parts, f"Written by `{COMMAND}`."]) + "\n"


def _format_edges(program: Program) -> str:
    rows = [
        (
            f"`{edge.edge}`",
            *("yes" if ablation in edge.ablations else "" for ablation in ABLATIONS),
            *([edge.path or "both"] if program.paths else []),
            edge.why,
        )
        for edge in program.edges
    ]
    return _format_table(("edge", *ABLATIONS, *(["path"] if program.paths else []), "why"), rows)


def write_page(programs: Sequence[Program], docs: Path) -> None:
    """Replace the table in `docs`/compiled-models.md and write the figures."""
    page = docs / PAGE
    before, mark, rest = page.read_text(encoding="utf-8").partition(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    text = f"{before}{mark}\n\n{_format_overview(programs)}\n\n{MARKS[1]}{after}"
    page.write_text(text, encoding="utf-8")
    pictures = docs / page.stem
    pictures.mkdir(exist_ok=True)
    for program in programs:
        topology = program.build().shape.topology
        circuit = Circuit.of(topology, [edge.edge for edge in program.edges])
        svg = draw_circuit(circuit, title=program.name, subtitle=program.title)
        (pictures / f"{program.name}.svg").write_text(svg, encoding="utf-8")


def _format_overview(programs: Iterable[Program]) -> str:
    """Return a table with a row per program."""
    rows = []
    for program in programs:
        shape = program.build().shape
        mlp = ", MLPs" if shape.d_mlp else ""
        true = [sum(a in edge.ablations for edge in program.edges) for a in ABLATIONS]
        heads = "; ".join(f"`{head.head}` {_join(head.kinds)}" for head in program.heads)
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
    return _format_table(columns, rows)


def _format_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; bars inside cells are escaped."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def _join(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write every compiled model below `--out`, optionally task folders and documentation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="directory of model directories")
    parser.add_argument("--tasks", type=Path, help="directory of task folders")
    parser.add_argument("--docs", type=Path, help="directory of compiled-models.md")
    given = parser.parse_args(arguments)
    for program in PROGRAMS:
        sys.stdout.write(f"{write_model(program, given.out)}\n")
        if given.tasks:
            write_task_data(program, given.tasks)
    if given.docs:
        write_page(PROGRAMS, given.docs)


if __name__ == "__main__":
    main()
