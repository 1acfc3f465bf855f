"""The wiki at scale: a made-up store of 200 models and 50,000 heads, built, and built again.

`python -m benchmarks.wiki_scale FOLDER` makes the store once, then prints seconds, peak memory and
size of a first build, of one without changes, and of one each after a new circuit, a new profile on
a task of no other model, a new model, and a new profile of it on a task of all others, all on two
cores; and how long a browser needs for the home page off the disk, where there is one. Beside each
number stands what it should not exceed, where there is such a bar.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from acdc_pipeline.graph import Circuit, Topology
from acdc_pipeline.graph.node_link import node_link_json
from acdc_pipeline.store import RunRecord, layout, tables
from acdc_pipeline.store.codec import encode
from acdc_pipeline.store.marker import Marker
from tests import wiki_store
from tests.browser_tab import FLAGS, chromium_at
from tests.wiki_store import Shape

MODELS = 200
SIZES = ((8, 8, 512), (12, 12, 768), (16, 16, 1024), (24, 16, 1024), (24, 18, 1152), (16, 16, 2048))
TASKS = ("ioi", "induction")
THRESHOLDS = (0.1, 0.03, 0.01, 0.003)
MOST_MEMORY = 2048
"""MiB of all processes together."""

MOST_DISK = 1000
"""MB."""


def shapes(models: int) -> list[Shape]:
    """Models of six sizes in turn, 256 heads each on average."""
    return [
        Shape(f"hf:lab-{index % 7}/model-{layers}l-s{index:03d}", layers, heads, width)
        for index in range(models)
        for layers, heads, width in (SIZES[index % len(SIZES)],)
    ]


def make_store(folder: Path, models: int) -> None:
    """Writes the store. Every file is what a run would have left, but nothing is synced to disk."""
    known: dict[Topology, pa.Table] = {}
    for number, shape in enumerate(shapes(models)):
        draw = np.random.default_rng((1, number))
        topology = next((t for t in known if t == shape.topology), shape.topology)
        if topology not in known:
            known[topology] = edges_of(topology)
        shape.__dict__["topology"] = topology
        for record in runs_of(shape, draw):
            write_run(folder, record, known)


def runs_of(shape: Shape, draw: np.random.Generator) -> Iterator[RunRecord]:
    """All runs of a model: a profile of each task, then the circuits."""
    grids = wiki_store.score_grids(shape, TASKS, draw)
    for task in TASKS:
        yield wiki_store.profile_record(shape, task, grids, draw)
    for task in TASKS:
        yield from wiki_store.circuit_records(shape, task, THRESHOLDS, draw)


def write_run(folder: Path, record: RunRecord, known: Mapping[Topology, pa.Table]) -> None:
    """A run without a commit's care for crashes, and with its edges made from a table at hand."""
    run_id = record.spec.run_id()
    files = encode(dataclasses.replace(record, circuit=None))
    if record.circuit is not None:
        files = _with_circuit(run_id, record, known[record.circuit.topology])
    where = folder / layout.RUNS / run_id
    where.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (where / name).write_bytes(content)
    (where / layout.MARKER).write_bytes(Marker.of(run_id, files).encode())


def edges_of(topology: Topology) -> pa.Table:
    """Every edge of a graph as a table of a circuit that has none of them."""
    return tables.edges_table("", Circuit(topology, frozenset()))


def _with_circuit(run_id: str, record: RunRecord, known: pa.Table) -> dict[str, bytes]:
    """The files of a circuit: `encode` on a small stand-in, then the edges of the whole graph."""
    files = encode(record) if known.num_rows < 5_000 else _encoded_without_edges(record)
    if layout.EDGES in files:
        return files
    assert record.circuit is not None
    kept = {(str(e.src), str(e.dst), e.slot): s for e, s in record.circuit.scores.items()}
    keys = zip(*(known[name].to_pylist() for name in ("src", "dst", "dst_slot")), strict=True)
    scores = [kept.get(key) for key in keys]
    table = known.set_column(0, tables.EDGES.field(0), pa.array([run_id] * len(scores)))
    table = table.set_column(10, tables.EDGES.field(10), pa.array(scores, pa.float32()))
    present = pa.array([score is not None for score in scores])
    table = table.set_column(11, tables.EDGES.field(11), present)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return files | {layout.EDGES: sink.getvalue().to_pybytes()}


def _encoded_without_edges(record: RunRecord) -> dict[str, bytes]:
    assert record.circuit is not None
    plain = json.loads(encode(dataclasses.replace(record, circuit=None))[layout.RUN])
    plain |= {
        "topology": record.circuit.topology.as_dict(),
        "edges_kept": len(record.circuit),
        "edges_total": record.circuit.topology.n_edges,
    }
    return {
        layout.RUN: (json.dumps(plain, sort_keys=True, indent=1) + "\n").encode(),
        layout.GRAPH: node_link_json(record.circuit).encode(),
    }


BUILD = """
import json, os, resource, sys, time
from pathlib import Path

if __name__ == "__main__":
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    from acdc_pipeline.store import open_store
    from acdc_pipeline.wiki.build import build
    built = build(open_store(sys.argv[1]), Path(sys.argv[2]))
    own = resource.getrusage(resource.RUSAGE_SELF)
    others = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime
    print(json.dumps([built.files, built.written, cpu, own.ru_maxrss, others.ru_maxrss]))
"""
"""A build in a process of its own, with two workers."""


def report(what: str, store: Path, out: Path, most_seconds: float | None = None) -> None:
    """Prints seconds and peak memory of a build; without `most_seconds` there is no bar."""
    script = out.parent / "build_wiki.py"
    script.write_text(BUILD)
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(script), str(store), str(out)], stdout=subprocess.PIPE, check=True
    )
    seconds = time.perf_counter() - started
    files, written, cpu, own, child = json.loads(done.stdout)
    # A bound from above: of the two workers the larger is known, and what they share counts twice.
    peak = (own + 2 * child) / 1024
    bar = "" if most_seconds is None else f" (<= {most_seconds:g})"
    print(
        f"{what:16} {seconds:6.1f} s{bar}, {cpu:.1f} s of CPU, "
        f"at most {peak:,.0f} MiB (<= {MOST_MEMORY:,}), {written:,} of {files:,} files written"
    )


def report_disk(out: Path) -> None:
    """Prints what the site takes on disk: its bytes, and the blocks that they fill."""
    found = [path.stat() for path in out.rglob("*") if path.is_file()]
    content, blocks = (sum(s.st_size for s in found), sum(s.st_blocks * 512 for s in found))
    print(
        f"{'on disk':16} {blocks / 1e6:,.0f} MB (<= {MOST_DISK:,}), {content / 1e6:,.0f} of bytes"
    )


def report_home(out: Path) -> None:
    """Prints the time from opening the home page until its mosaic answers, the middle of five."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as drive:
        program = chromium_at(drive)
        if program is None:
            print("home page        no chromium")
            return
        seconds = []
        for _ in range(5):
            # a new browser each time, so that nothing is in its cache
            browser = drive.chromium.launch(executable_path=program, args=list(FLAGS))
            page = browser.new_page()
            started = time.perf_counter()
            page.goto((out / "index.html").as_uri(), wait_until="load")
            page.locator(".pick select").wait_for(state="visible")
            seconds.append(time.perf_counter() - started)
            browser.close()
    print(f"{'home page':16} {statistics.median(seconds):6.2f} s (<= 2)")


def main() -> None:
    """Runs everything in the folder given."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", type=int, default=MODELS)
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    store, out = folder / "store", folder / "site"
    if not store.exists():
        started = time.perf_counter()
        make_store(folder / "new", arguments.models)
        (folder / "new").rename(store)
        print(f"{'store':16} made in {time.perf_counter() - started:.0f} s", flush=True)
    shutil.rmtree(out, ignore_errors=True)
    # one more model, which an earlier run of this benchmark may have left in the store
    added = shapes(arguments.models + 1)[-1]
    late, *runs = runs_of(added, np.random.default_rng((1, arguments.models)))
    for record in (late, *runs):
        shutil.rmtree(store / layout.RUNS / record.spec.run_id(), ignore_errors=True)
    report("first build", store, out, 120)
    report_disk(out)
    report("nothing new", store, out, 10)
    shape = shapes(arguments.models)[0]
    draw = np.random.default_rng(time.time_ns())
    known = {shape.topology: edges_of(shape.topology)}
    circuit = next(wiki_store.circuit_records(shape, "docstring", (draw.random(),), draw))
    write_run(store, circuit, known)
    report("one new circuit", store, out, 10)
    # what needs no prompts is measured again with the same outcome
    before = wiki_store.score_grids(shape, TASKS, np.random.default_rng((1, 0)))
    grids = wiki_store.score_grids(shape, ("docstring",), draw)
    grids |= {metric: grid for metric, grid in before.items() if ":" not in metric}
    write_run(store, wiki_store.profile_record(shape, "docstring", grids, draw), known)
    report("one new profile", store, out, 10)
    known = {added.topology: edges_of(added.topology)}
    for record in runs:
        write_run(store, record, known)
    report("one new model", store, out)
    write_run(store, late, known)
    report("on a shared task", store, out)
    report_home(out)


if __name__ == "__main__":
    main()
