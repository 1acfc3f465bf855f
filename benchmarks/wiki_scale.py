"""The wiki at scale: a made-up store of 200 models and 50,000 heads, built, and built again.

`python -m benchmarks.wiki_scale FOLDER` makes the store once, then prints seconds, peak memory and
size of a first build, of one without changes, of one after a new run, and of one after a new
profile; and how long a browser needs for the home page, where there is one.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from acdc_pipeline.graph import Topology
from acdc_pipeline.store import RunRecord, layout, schemas, tables
from acdc_pipeline.store.encode import encode
from acdc_pipeline.store.marker import Marker
from tests import wiki_store
from tests.wiki_store import Shape

MODELS = 200
SIZES = ((8, 8, 512), (12, 12, 768), (16, 16, 1024), (24, 16, 1024), (24, 18, 1152), (16, 16, 2048))
TASKS = ("ioi", "induction")
THRESHOLDS = (0.1, 0.03, 0.01, 0.003)


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
            known[topology] = _edges(topology)
        shape.__dict__["topology"] = topology
        grids = wiki_store.score_grids(shape, TASKS, draw)
        for task in TASKS:
            write_run(folder, wiki_store.profile_record(shape, task, grids, draw), known)
        for task in TASKS:
            for record in wiki_store.circuit_records(shape, task, THRESHOLDS, draw):
                write_run(folder, record, known)


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


def _edges(topology: Topology) -> pa.Table:
    from acdc_pipeline.graph import Circuit

    return tables.edges_table("", Circuit(topology, frozenset()))


def _with_circuit(run_id: str, record: RunRecord, known: pa.Table) -> dict[str, bytes]:
    """The files of a circuit: `encode` on a small stand-in, then the edges of the whole graph."""
    import pyarrow.parquet as pq

    files = encode(record) if known.num_rows < 5_000 else _encoded_without_edges(record)
    if layout.EDGES in files:
        return files
    assert record.circuit is not None
    kept = {(str(e.src), str(e.dst), e.slot): s for e, s in record.circuit.scores.items()}
    keys = zip(*(known[name].to_pylist() for name in ("src", "dst", "dst_slot")), strict=True)
    scores = [kept.get(key) for key in keys]
    table = known.set_column(0, schemas.EDGES.field(0), pa.array([run_id] * len(scores)))
    table = table.set_column(10, schemas.EDGES.field(10), pa.array(scores, pa.float32()))
    present = pa.array([score is not None for score in scores])
    table = table.set_column(11, schemas.EDGES.field(11), present)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return files | {layout.EDGES: sink.getvalue().to_pybytes()}


def _encoded_without_edges(record: RunRecord) -> dict[str, bytes]:
    from acdc_pipeline.graph.node_link import node_link_json

    assert record.circuit is not None
    plain = json.loads(encode(dataclasses.replace(record, circuit=None))[layout.RUN])
    plain |= {
        "topology": dataclasses.asdict(record.circuit.topology),
        "edges_kept": len(record.circuit),
        "edges_total": record.circuit.topology.n_edges,
    }
    return {
        layout.RUN: (json.dumps(plain, sort_keys=True, indent=1) + "\n").encode(),
        layout.GRAPH: node_link_json(record.circuit).encode(),
    }


def measured_build(store: Path, out: Path) -> dict[str, float]:
    """Seconds, peak memory of all processes and counts of a build in a process of its own."""
    code = (
        "import sys, json, resource, time; from pathlib import Path\n"
        "from acdc_pipeline.store import open_store\n"
        "from acdc_pipeline.wiki.build import build\n"
        "if __name__ == '__main__':\n"
        "    built = build(open_store(sys.argv[1]), Path(sys.argv[2]))\n"
        "    own = resource.getrusage(resource.RUSAGE_SELF)\n"
        "    others = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "    cpu = own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime\n"
        "    print(json.dumps([built.files, built.written, built.bytes, cpu,\n"
        "                      own.ru_maxrss, others.ru_maxrss]))\n"
    )
    script = out.parent / "build_wiki.py"
    script.write_text(code)
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(script), str(store), str(out)],
        capture_output=True,
        text=True,
        check=True,
    )
    seconds = time.perf_counter() - started
    files, written, size, cpu, own, child = json.loads(done.stdout)
    # children are counted by their largest; two of them run at once
    return {
        "seconds": round(seconds, 1),
        "CPU seconds": round(cpu, 1),
        "files": files,
        "written": written,
        "MB": round(size / 1e6, 1),
        "peak MiB": round((own + 2 * child) / 1024),
    }


def on_disk(folder: Path) -> float:
    """What the site takes on disk, in MB: blocks, not bytes."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*")) / 1e6


def home_seconds(out: Path) -> float | None:
    """From opening the home page off the disk until its mosaic can be clicked."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    with sync_playwright() as drive:
        browser = drive.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        started = time.perf_counter()
        page.goto((out / "index.html").as_uri(), wait_until="load")
        page.locator(".pick select").wait_for(state="visible")
        seconds = time.perf_counter() - started
        browser.close()
    return round(seconds, 2)


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
        print(f"store made in {time.perf_counter() - started:.0f} s")
    shutil.rmtree(out, ignore_errors=True)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    print("first build", measured_build(store, out))
    print(f"on disk {on_disk(out):.0f} MB")
    print("nothing new", measured_build(store, out))
    shape = shapes(arguments.models)[0]
    draw = np.random.default_rng(time.time_ns())
    known = {shape.topology: _edges(shape.topology)}
    circuit = next(wiki_store.circuit_records(shape, "docstring", (draw.random(),), draw))
    write_run(store, circuit, known)
    print("one new circuit", measured_build(store, out))
    grids = wiki_store.score_grids(shape, ("docstring",), draw)
    write_run(store, wiki_store.profile_record(shape, "docstring", grids, draw), known)
    print("one new profile", measured_build(store, out))
    print("home page", home_seconds(out), "s")
    print("this process", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, "MiB")


if __name__ == "__main__":
    main()
