"""`acdc doctor`: what works on this machine."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from shutil import which
from typing import Literal

import typer

from acdc_pipeline.cli.options import shared
from acdc_pipeline.cli.terminal.output import PROSE_WIDTH, print_json, terminal_width
from acdc_pipeline.cli.terminal.progress import show_status
from acdc_pipeline.cli.terminal.tables import Column, print_table
from acdc_pipeline.cli.terminal.text import relative_path
from acdc_pipeline.errors import AcdcError
from acdc_pipeline.text import pluralize

Status = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Finding:
    """The result of one check: its subject, its state, and how to fix it."""

    what: str
    status: Status
    found: str
    fix: str = ""


def doctor(store: shared.StoreUrl = None, json: shared.Json = False) -> None:
    """Check Python, packages, devices, models, the store, Ray and tokens, and suggest fixes.

    Exit code 3 if a check fails.

    Example: acdc doctor
    """
    with show_status("looking"):
        checks: list[Callable[[], Finding]] = [
            _python,
            *(lambda name=name: _package(name) for name in PACKAGES),
            _extras,
            _device,
            _machine,
            _tasks,
            _zoo,
            _engine,
            lambda: _store(store),
            _ray,
            _hub,
            _cache,
            _tokens,
            _browser,
        ]
        findings = [_run_check(check) for check in checks]
    ok = all(finding.status != "problem" for finding in findings)
    if json:
        print_json({"findings": [asdict(f) for f in findings], "ok": ok})
    else:
        rows = [
            {
                "what": f.what,
                "state": _MARKS[f.status],
                "found": f.found + (f"\nfix: {f.fix}" if f.fix else ""),
            }
            for f in findings
        ]
        print_table(COLUMNS, rows, width=terminal_width() or PROSE_WIDTH)
    if not ok:
        raise typer.Exit(3)


EXTRAS = {
    "gguf": "reads gguf: models",
    "peft": "merges LoRA adapters",
    "bitsandbytes": "dequantises bitsandbytes checkpoints",
}
"""Optional packages, and what each is for."""

PACKAGES = ("torch", "transformer-lens", "transformers", "ray", "pyarrow", "networkx")
COLUMNS = (Column("what"), Column("state"), Column("found", "prose"))
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "firefox")
_MARKS: dict[Status, str] = {"ok": "ok", "note": "–", "problem": "PROBLEM"}


def _run_check(check: Callable[[], Finding]) -> Finding:
    """Run a check; an error of ours or of an import becomes a finding."""
    try:
        return check()
    except AcdcError as error:
        return Finding(error.where or "acdc", "problem", str(error), error.fix or "")
    except (ImportError, OSError, RuntimeError) as error:
        return Finding(getattr(error, "name", None) or "acdc", "problem", f"{error}")


def _python() -> Finding:
    fine = sys.version_info >= (3, 11)
    return Finding(
        "python",
        "ok" if fine else "problem",
        f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "" if fine else "install Python 3.11 or newer",
    )


def _package(name: str) -> Finding:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return Finding(name, "ok", version(name))
    except PackageNotFoundError:
        return Finding(name, "problem", "not installed", "pip install acdc-pipeline")


def _extras() -> Finding:
    from importlib.metadata import version
    from importlib.util import find_spec

    states = [
        f"{name} {version(name)}"
        if find_spec(name)
        else f"no {name} ({purpose}: pip install {name})"
        for name, purpose in EXTRAS.items()
    ]
    return Finding("extras", "note", ", ".join(states))


def _cache() -> Finding:
    """Find the folder of converted models, and its size."""
    from acdc_pipeline.models.conversion.cache import cache_folder

    folder = cache_folder()
    models = [path for path in (folder / "models").glob("*") if path.is_dir()]
    size = sum(file.stat().st_size for path in models for file in path.iterdir())
    held = f"{pluralize(len(models), 'converted model')}, {size / 2**30:.1f} GiB"
    return Finding("cache", "note", f"{relative_path(str(folder))}: {held} (ACDC_CACHE moves it)")


def _device() -> Finding:
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return Finding("device", "ok", f"CUDA {torch.version.cuda}: {', '.join(names)}")
    if torch.version.cuda:
        return Finding("device", "note", "cpu (this torch is built for CUDA, and finds no GPU)")
    return Finding("device", "ok", "cpu")


def _machine() -> Finding:
    import psutil
    import torch

    memory = psutil.virtual_memory()
    return Finding(
        "machine",
        "ok",
        f"{pluralize(os.cpu_count() or 1, 'CPU')} with a load of {psutil.getloadavg()[0]:.1f}, "
        f"torch uses {pluralize(torch.get_num_threads(), 'thread')} (--threads sets it); "
        f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB memory free",
    )


def _tasks() -> Finding:
    from acdc_pipeline.specs import find_task, list_tasks

    names = [find_task(path).name for path in list_tasks().values()]
    if not names:
        return Finding("tasks", "problem", "none found", "reinstall acdc-pipeline")
    return Finding("tasks", "ok", ", ".join(names))


def _zoo() -> Finding:
    from acdc_pipeline.models import describe_model, list_zoo

    names = [describe_model(f"zoo:{name}").ref.removeprefix("zoo:") for name in list_zoo()]
    if not names:
        return Finding("zoo", "problem", "no bundled model", "reinstall acdc-pipeline")
    return Finding("zoo", "ok", f"{pluralize(len(names), 'model')}: {', '.join(names)}")


def _engine() -> Finding:
    from acdc_pipeline.models import list_zoo
    from acdc_pipeline.workflows.model_check import check_model

    ref = f"zoo:{list_zoo()[0]}"
    result = check_model(ref, device="auto")
    return Finding(
        "engine",
        "ok" if result.passed else "problem",
        f"{result.parity_error:.1e} away from TransformerLens on {ref}",
        "" if result.passed else "check the versions above against constraints.txt",
    )


def _store(url: str | None) -> Finding:
    from acdc_pipeline.store import open_store

    results = open_store(url)
    folder = results.folder
    count = len(results.run_ids())
    if folder is None:
        return Finding("store", "ok", f"{results.url}: {pluralize(count, 'run')}")
    nearest = next(p for p in (folder, *folder.parents) if p.exists())
    if not os.access(nearest, os.W_OK):
        return Finding(
            "store",
            "problem",
            f"{relative_path(results.url)} cannot be written",
            "choose another store with --store or ACDC_STORE",
        )
    state = pluralize(count, "run") if folder.exists() else "does not exist yet"
    return Finding("store", "ok", f"{relative_path(results.url)}: {state}")


def _hub() -> Finding:
    from huggingface_hub.constants import HF_HUB_CACHE, HF_HUB_OFFLINE

    cached = sorted(Path(HF_HUB_CACHE).glob("models--*"))
    mode = "offline (HF_HUB_OFFLINE)" if HF_HUB_OFFLINE else "downloads allowed"
    return Finding("hub", "note", f"{mode}; {pluralize(len(cached), 'model')} in the local cache")


def _ray() -> Finding:
    """Find whether a Ray would be joined or started, without starting it."""
    if address := os.environ.get("RAY_ADDRESS"):
        return Finding("ray cluster", "note", f"RAY_ADDRESS is set: sweeps go to {address}")
    shared = Path("/dev/shm")  # where Ray keeps what workers hand to one another
    if shared.is_dir() and not os.access(shared, os.W_OK):
        return Finding(
            "ray cluster", "problem", f"{shared} cannot be written", "acdc run --executor local"
        )
    return Finding(
        "ray cluster", "ok", "none; 'acdc demo' and '--executor ray' start one on this machine"
    )


def _tokens() -> Finding:
    """Find which secrets are set, without showing them."""
    from huggingface_hub import get_token

    from acdc_pipeline.execution.submission.cluster import find_token

    known = {"Hugging Face": get_token(), "Ray": find_token(os.environ, Path.home())}
    states = [f"{name}: {'set' if value else 'none'}" for name, value in known.items()]
    return Finding("tokens", "note", ", ".join(states))


def _browser() -> Finding:
    """Find a browser; only tests of the wiki and pictures of the docs need one."""
    found = next(filter(None, map(which, BROWSERS)), None)
    return Finding("browser", "note", found or "none found; the wiki opens in any")
