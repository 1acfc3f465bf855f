"""Writes a compiled model as a zoo directory, and its prompts into a task folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import yaml
from tokenizers import pre_tokenizers
from transformers import PreTrainedTokenizerFast

from acdc_pipeline.models.tl_format import save_tl_directory
from acdc_pipeline.models.zoo.compiled.pages import COMMAND, readme
from acdc_pipeline.models.zoo.compiled.program import Program
from acdc_pipeline.models.zoo.compiled.truth import TRUTH_FILE
from acdc_pipeline.models.zoo.tokenizer import fast, word_level
from acdc_pipeline.specs.names import Ablation

PAIRS = 256
LINE = 100


def write_model(program: Program, out: Path) -> Path:
    """Write the zoo directory of `program` below `out`, byte for byte the same every time.

    Returns:
        The directory `out / program.name`.
    """
    directory = out / program.name
    builder = program.build()
    tokenizer = build_tokenizer(program, builder.shape.n_ctx)
    # Half precision holds every weight as it is: all are short binary fractions.
    tensors = {name: tensor.half() for name, tensor in builder.tensors().items()}
    save_tl_directory(directory, builder.shape.config, tensors, tokenizer)
    _write_json(directory / TRUTH_FILE, truth_document(program))
    _write_json(directory / "card.json", card_document(program))
    (directory / "README.md").write_text(readme(program), encoding="utf-8")
    return directory


def write_task_data(program: Program, tasks: Path) -> None:
    """Write prompts and true circuit into the task folder made for `program`, if there is one."""
    if not program.has_own_task:
        return
    folder = tasks / program.task
    folder.mkdir(parents=True, exist_ok=True)
    if program.pairs is not None:
        lines = "".join(f"{json.dumps(pair)}\n" for pair in islice(program.pairs(), PAIRS))
        (folder / "pairs.jsonl").write_text(lines, encoding="utf-8")
    circuit = yaml.safe_dump(circuit_document(program), sort_keys=False, width=LINE)
    (folder / "circuit.yaml").write_text(circuit, encoding="utf-8")


def build_tokenizer(program: Program, model_max_length: int) -> PreTrainedTokenizerFast:
    """One word, one token; spaces only separate."""
    tokenizer = word_level(program.vocabulary)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return fast(tokenizer, model_max_length)


def truth_document(program: Program) -> dict[str, Any]:
    """What truth.json says."""
    return {
        "model": program.name,
        "task": program.task,
        "graph": asdict(program.build().shape.topology),
        "edges": {
            ablation: [
                {"edge": edge.edge, "why": edge.why}
                | ({} if edge.path is None else {"path": edge.path})
                for edge in program.edges
                if ablation in edge.ablations
            ]
            for ablation in get_args(Ablation)
        },
        "found_by_acdc": {order: list(edges) for order, edges in program.found_by_acdc.items()},
        "heads": [
            {"head": head.head, "kinds": list(head.kinds), "why": head.why}
            for head in program.heads
        ],
    }


def circuit_document(program: Program) -> dict[str, Any]:
    """What the task's circuit.yaml says."""
    return {
        "model": f"zoo:{program.name}",
        "source": "known by construction: the weights were set by hand",
        "ablation": "corrupted",
        "edges": [edge.edge for edge in program.edges if "corrupted" in edge.ablations],
        "note": f"the edges under other ablations stand in {TRUTH_FILE} beside the model",
    }


def card_document(program: Program) -> dict[str, Any]:
    """What card.json says, under the names that the cards of trained models use.

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
