"""What holds for every test: checked shapes, no network, one thread, a store of its own.

The environment is set when this file is imported, which is before any test module imports
torch, transformers or ray; those read it once, on import.
"""

from __future__ import annotations

import gc
import itertools
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests import kept_models, real_models, typecheck
from tests.support import REPOSITORY

# What a developer has set for daily work, or a CI service for its own logs, must not decide tests.
for name in [name for name in os.environ if name.startswith("ACDC_")]:
    del os.environ[name]
for name in ("COLUMNS", "FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS"):
    os.environ.pop(name, None)
# Processes that tests start take half the time where the files of the package are compiled.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    # Models a developer has downloaded are not there for tests either.
    HF_HOME=str(REPOSITORY / ".pytest_cache" / "huggingface"),
    RAY_USAGE_STATS_ENABLED="0",
    TOKENIZERS_PARALLELISM="false",
    NO_COLOR="1",
)
# One thread: small models are faster so, and sums are taken in the same order everywhere.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples on every machine, and no limit on how long one may take on a busy one.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")

# Every function of the package checks its annotations, tensor shapes included.
typecheck.install(["acdc_pipeline", "benchmarks.zoo"])


# What is imported stays: looking for garbage in it takes a tenth of the time to import it.
gc.disable()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Leave what was imported out of garbage collection, and let workers share loaded models.

    Collections took a twentieth of the time. Both are about what the tests have imported by now.
    """
    gc.collect()
    gc.freeze()
    # Fewer collections: what waits for them in a test, models included, is small.
    gc.set_threshold(50_000)
    gc.enable()
    kept_models.keep_models()


_STATUS = pytest.StashKey[int]()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[_STATUS] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """End a process that used Ray as soon as everything is reported.

    Where a node was killed, threads of Ray's core may crash while the interpreter is torn down:
    all tests passed, and the process ends with a segmentation fault.
    """
    if config.option.markexpr == "ray" and _STATUS in config.stash:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash[_STATUS])


_numbers = itertools.count()


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this test alone.

    pytest's own fixture lists the folders of all earlier tests, to number the next one: of
    thousands that takes milliseconds each time.
    """
    name = re.sub(r"\W", "_", request.node.name)[:30]
    folder = tmp_path_factory.getbasetemp() / f"{name}_{next(_numbers)}"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture(autouse=True)
def store_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The default results store of this test alone, through the environment."""
    url = str(tmp_path / "store")
    monkeypatch.setenv("ACDC_STORE", url)
    return url


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of converted models of this test alone, through the environment."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("ACDC_CACHE", str(folder))
    return folder


@pytest.fixture
def real_model(cache: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The reference of the real model, in this user's cache; skips the test without it."""
    return real_models.real_reference(monkeypatch)


@pytest.fixture
def without_package(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes a package one that is not installed, for this test."""

    class Without:
        def __init__(self, finder: Any, name: str) -> None:
            self.finder, self.name = finder, name

        def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
            if fullname.partition(".")[0] == self.name:
                return None
            return self.finder.find_spec(fullname, path, target)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.finder, name)

    def hide(name: str) -> None:
        for loaded in [m for m in sys.modules if m.partition(".")[0] == name]:
            monkeypatch.delitem(sys.modules, loaded)
        monkeypatch.setattr(sys, "meta_path", [Without(finder, name) for finder in sys.meta_path])

    return hide
