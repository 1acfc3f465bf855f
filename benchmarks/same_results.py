"""Whether two checkouts of the package compute and store the same results.

In each tree the same commands run: the demo sweep, a sweep of every method, an evaluation, exports
in every format, `acdc regress`. Then run ids, stored files and exported files are compared byte for
byte. Left out of the comparison is what no two executions share: seconds, times, and the
environment of `run.json`.

    git worktree add ../before HEAD~20
    python -m benchmarks.same_results ../before .

Exit code 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SWEEP = """\
name: methods
tasks: [ioi]
models: ["zoo:gpt2-4l-s0", "zoo:llama-4l"]
methods:
  - {name: acdc, thresholds: [0.05]}
  - {name: acdc, thresholds: [0.05], metric: logit_diff, ablation: mean, order: natural}
  - {name: eap-ig-acdc, thresholds: [0.05]}
  - {name: eap}
  - {name: acdc, thresholds: [0.05], difference: abs}
  - {name: eap, rank: signed, ablation: zero}
  - {name: eap-ig-inputs, steps: 3}
  - {name: eap-ig-inputs, steps: 2, rounds: 2, edges: 40}
  - {name: eap-ig-activations, steps: 2}
  - {name: clean-corrupted}
  - {name: exact}
  - {name: node-attribution}
  - {name: node-exact}
  - {name: hisp}
  - {name: edge-pruning, steps: 20}
  - {name: subnetwork-probing, steps: 20}
  - {name: random}
  - {name: profile}
prompts: 8
seeds: [0, 1]
"""

FORMATS = {
    "node-link": "json",
    "graphml": "graphml",
    "dot": "dot",
    "mib-json": "json",
    "svg": "svg",
}

VOLATILE = frozenset({"wall_seconds", "seconds", "environment", "measured_at", "sha256"})
"""Keys of JSON files that two executions do not share."""


def run(tree: Path, folder: Path, *arguments: str, allowed: tuple[int, ...] = (0,)) -> str:
    """What `acdc` of `tree` prints; ends the program where its exit code is not allowed."""
    environment = os.environ | {
        "PYTHONPATH": str(tree),
        "ACDC_STORE": str(folder / "store"),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "acdc_pipeline", *arguments],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in allowed:
        sys.exit(f"{tree}: acdc {' '.join(arguments)}: exit {done.returncode}\n{done.stderr}")
    return done.stdout


def produce(tree: Path, folder: Path, demo: str) -> None:
    """Run everything in `tree`, with its results under `folder`."""
    sweep = folder / "sweep.yaml"
    sweep.write_text(SWEEP)
    for each in (demo, str(sweep)):
        run(tree, folder, "run", each, "--executor", "local", "--threads", "1")
    runs = sorted(path.name for path in (folder / "store" / "runs").iterdir())
    circuits = [name for name in runs if (folder / "store" / "runs" / name / "graph.json").exists()]
    (folder / "exports").mkdir(exist_ok=True)
    for run_id in circuits[::4]:
        for name, suffix in FORMATS.items():
            out = folder / "exports" / f"{run_id}.{name}.{suffix}"
            run(tree, folder, "runs", "export", run_id, "--format", name, "--out", str(out))
    for run_id in circuits[::12]:
        run(tree, folder, "evaluate", run_id)
    out = folder / "regress.json"
    out.write_text(run(tree, folder, "regress", "--json", "--threads", "1", allowed=(0, 1)))


def compared(path: Path) -> bytes:
    """The content of a file, without what no two executions share."""
    data = path.read_bytes()
    if path.suffix != ".json":
        return data
    document = without_volatile(json.loads(data))
    if path.name == "_COMMIT.json":  # run.json holds seconds, and a profile may hold warnings
        document["files"].pop("run.json")
    return json.dumps(document).encode()


def without_volatile(value: Any) -> Any:
    """A JSON value without the keys that two executions do not share."""
    if isinstance(value, dict):
        return {key: without_volatile(v) for key, v in value.items() if key not in VOLATILE}
    return [without_volatile(item) for item in value] if isinstance(value, list) else value


def differences(before: Path, after: Path) -> list[str]:
    """What is there on one side alone, or not the same on both."""
    files = [
        {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        for folder in (before, after)
    ]
    if not files[0] & files[1]:
        sys.exit("nothing to compare")
    out = [f"only before: {name}" for name in sorted(files[0] - files[1])]
    out += [f"only after: {name}" for name in sorted(files[1] - files[0])]
    for name in sorted(files[0] & files[1]):
        if compared(before / name) != compared(after / name):
            out.append(f"differs: {name}")
    print(f"{len(files[0] & files[1])} files compared")
    return out


def main() -> None:
    """Run both trees and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", type=Path, help="a checkout")
    parser.add_argument("after", type=Path, help="another")
    parser.add_argument("--sweep", default="demo", help="beside the sweep of all methods")
    parser.add_argument("--results", type=Path, help="keep and reuse what the trees produced here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        results = options.results or Path(temporary)
        for name in ("before", "after"):
            folder = results / name
            if not folder.exists():
                partial = results / f"{name}.partial"
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir(parents=True)
                produce(getattr(options, name).resolve(), partial.resolve(), options.sweep)
                partial.rename(folder)
        found = differences(results / "before", results / "after")
    print("\n".join(found) or "all the same")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
