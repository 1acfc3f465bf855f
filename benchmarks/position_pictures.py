"""Circuits drawn by span: `python -m benchmarks.position_pictures docs/images`.

Searches IOI in two models of the zoo and the compiled program of two effects that cancel, with the
spans of their tasks, and writes one picture of each. Prints where each head of IOI stands: the span
of its queries, and those at which its query, keys and values read a difference.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from acdc_pipeline import FoundCircuit, discover
from acdc_pipeline.graph import Edge

CIRCUITS = (
    ("ioi", "attn-4l", 0.1),
    ("ioi", "gpt2-4l-s0", 0.1),
    ("compiled_cancel", "compiled-cancel", 0.01),
)


def places(found: FoundCircuit) -> list[str]:
    """A line for each set of heads that read the same slots in the same spans.

    A head stands in the spans in which a later node reads its output.
    """
    written: dict[str, list[str]] = {}
    arriving: dict[str, dict[str, list[str]]] = {}
    for edge in found.sorted_edges:
        assert edge.span is not None, "the search had spans"
        if edge.src.kind == "head":
            _note(written.setdefault(str(edge.src), []), edge.span)
        if edge.slot is not None:
            slots = arriving.setdefault(str(edge.dst), {})
            _note(slots.setdefault(edge.slot, []), _read(edge))
    alike: dict[tuple[str, str], list[str]] = {}
    for head in sorted(written):
        slots = arriving.get(head, {})
        read = "; ".join(f"{slot} {', '.join(slots[slot])}" for slot in "qkv" if slot in slots)
        read = read or "nothing that differs"
        alike.setdefault((", ".join(written[head]), read), []).append(head)
    return [f"{', '.join(heads)} at {at}: {read}" for (at, read), heads in alike.items()]


def _read(edge: Edge) -> str:
    source = "input" if edge.src.kind == "input" else f"layer {edge.src.layer}"
    return f"{source}@{edge.span}"


def _note(seen: list[str], value: str) -> None:
    if value not in seen:
        seen.append(value)


def main() -> None:
    """Write the pictures into the folder given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    torch.set_num_threads(1)
    for task, model, threshold in CIRCUITS:
        found = discover(task, f"zoo:{model}", threshold=threshold, positions="spans")
        found.draw().save(folder / f"spans-{model}.svg")
        share = found.faithfulness
        print(
            f"{task} in zoo:{model}, τ {threshold:g}: {len(found.edges)} of "
            f"{found.topology.n_edges:,} edges, faithfulness {share:.2f}"
        )
        if task == "ioi":
            print(*(f"    {line}" for line in places(found)), sep="\n")


if __name__ == "__main__":
    main()
