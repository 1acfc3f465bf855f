"""Engine, oracle and auto-circuit side by side: `python -m benchmarks.compare`."""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

import torch

from acdc_pipeline.graph import Edge, Node, Topology
from acdc_pipeline.graph.search_order import receivers_backwards, sources_backwards
from acdc_pipeline.models import resolve_device
from benchmarks.case import GPT2_SMALL, SHORT, SMALL, WIDE, Case
from benchmarks.engine_side import bench_of, measure_engine, search
from benchmarks.measurement import Measurement, machine
from benchmarks.oracle_side import measure_oracle

# About 2 %, 20 % and 45 % of the edges kept, for the shapes below and seed 0; see `find_threshold`.
SHARES = (0.02, 0.2, 0.45)


def find_threshold(case: Case, folder: Path, share: float, device: str) -> float:
    """A threshold, of the form d·10^e, that keeps about `share` of the edges."""
    bench = bench_of(case, folder, device)
    low, high = 1e-9, 1.0
    for _ in range(12):
        middle = (low * high) ** 0.5
        kept = len(search(bench, middle).circuit) / bench.weights.topology.n_edges
        low, high = (middle, high) if kept > share else (low, middle)
        if abs(kept - share) < 0.1 * share:
            break
    digit, exponent = f"{(low * high) ** 0.5:.0e}".split("e")
    return float(f"{digit}e{exponent}")


def edge_order(topology: Topology) -> list[Edge]:
    """Every edge in the order our ACDC tries them."""
    return [
        Edge.into(source, receiver)
        for receiver in receivers_backwards(topology, "reverse-heads")
        for source in sources_backwards(topology, receiver, "reverse-heads")
    ]


def measure_autocircuit(
    case: Case, folder: Path, thresholds: list[float], device: str, python: Path, dtype: str
) -> list[Measurement]:
    """auto-circuit on the same model, prompts, order and thresholds, in its own environment."""
    ours = {_their_key(edge): edge for edge in edge_order(case.topology)}
    prompts = case.make_prompts()
    powers = [f"{threshold:.0e}".split("e") for threshold in thresholds]
    request = {
        "model": str(case.save_model(folder).resolve()),
        "clean": prompts.clean.tolist(),
        "corrupted": prompts.corrupted.tolist(),
        "order": list(ours),
        "tokens": case.tokens if case.positions else None,
        "thresholds": [(int(base), int(exponent)) for base, exponent in powers],
        "device": device,
        "threads": torch.get_num_threads(),
        "dtype": dtype,
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(request, file)
        file.flush()
        script = Path(__file__).parent / "autocircuit_side.py"
        done = subprocess.run(
            [python, script, file.name], stdout=subprocess.PIPE, check=True, text=True
        )
    reply = json.loads(done.stdout.splitlines()[-1])
    return [
        Measurement(
            "auto-circuit",
            threshold,
            reply["tested"],
            frozenset(str(ours[name, position]) for name, position in answer["kept"]),
            answer["seconds"],
            1,
            reply["peak_bytes"],
        )
        for threshold, answer in zip(thresholds, reply["answers"], strict=True)
    ]


def _their_key(edge: Edge) -> tuple[str, int | None]:
    """The name of an edge in auto-circuit, and its token."""
    slot = f".{edge.slot.upper()}" if edge.slot else ""
    token = None if edge.span is None else int(edge.span.removeprefix("t"))
    return f"{_their_node(edge.src)}->{_their_node(edge.dst)}{slot}", token


def _their_node(node: Node) -> str:
    if node.kind == "head":
        return f"A{node.layer}.{node.head}"
    if node.kind == "mlp":
        return f"MLP {node.layer}"
    return {"input": "Resid Start", "logits": "Resid End"}[node.kind]


def table(sides: list[list[Measurement]], n_edges: int) -> str:
    """One row per threshold and side; ratios are against the engine's row."""
    lines = [
        f"{'side':<13}{'τ':>9}{'tested':>9}{'kept':>8}{'share':>8}{'seconds':>10}"
        f"{'ratio':>8}{'edges/s':>10}{'peak MiB':>10}  circuit"
    ]
    for rows in zip_longest(*sides):
        engine = rows[0]
        for row in filter(None, rows):
            same = "same" if row.kept == engine.kept else f"{len(row.kept ^ engine.kept)} differ"
            lines.append(
                f"{row.side:<13}{row.threshold:>9.0e}{row.tested:>9,}{len(row.kept):>8,}"
                f"{len(row.kept) / n_edges:>8.1%}{row.seconds:>10.2f}"
                f"{row.seconds / engine.seconds:>7.1f}x{row.edges_per_second:>10,.0f}"
                f"{row.peak_bytes / 2**20:>10,.0f}  {same}"
            )
    return "\n".join(lines)


def main() -> None:
    """Measure and print; the raw numbers go to `results/benchmarks/compare.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=["wide", "small", "gpt2", "short"], default="wide")
    parser.add_argument("--thresholds", type=float, nargs="*")
    parser.add_argument("--prompts", type=int, help="fewer or more than the shape's own")
    parser.add_argument("--tokens", type=int, help="likewise")
    parser.add_argument("--positions", action="store_true", help="test each edge at each token")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--folder", type=Path, default=Path(".bench"))
    parser.add_argument("--autocircuit-python", type=Path)
    parser.add_argument("--without-oracle", action="store_true", help="as with --positions")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    shapes = {"wide": WIDE, "small": SMALL, "gpt2": GPT2_SMALL, "short": SHORT}
    case = shapes[options.shape]
    case = replace(
        case,
        prompts=options.prompts or case.prompts,
        tokens=options.tokens or case.tokens,
        positions=options.positions,
    )
    thresholds = options.thresholds or [
        find_threshold(case, options.folder, share, options.device) for share in SHARES
    ]
    folder, device, dtype = options.folder, options.device, options.dtype
    sides = [measure_engine(case, folder, thresholds, device, options.repeats, dtype)]
    if dtype == "float32":
        # Where decisions are near the rounding of float32, sides differ: this says who is right.
        sides.append(measure_engine(case, folder, thresholds, device, 1, "float64"))
    if not (options.without_oracle or options.positions) and dtype == "float32":
        sides.append(measure_oracle(case, folder, thresholds[:1]))
    if options.autocircuit_python:
        sides.append(
            measure_autocircuit(case, folder, thresholds, device, options.autocircuit_python, dtype)
        )
    n_edges = case.topology.n_edges
    print(f"{case.name}, {case.prompts} prompts x {case.tokens} tokens, {n_edges:,} edges")
    print(f"{machine(resolve_device(device))}, torch {torch.__version__}, {dtype}")
    print(table(sides, n_edges))
    out = Path("results/benchmarks")
    out.mkdir(parents=True, exist_ok=True)
    raw = [{**vars(row), "kept": sorted(row.kept)} for rows in sides for row in rows]
    (out / "compare.json").write_text(json.dumps(raw, indent=1))


if __name__ == "__main__":
    main()
