"""The cache of converted models, between processes that want the same model."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from acdc_pipeline.models.conversion.cache import convert_once, derive_once

PARTS = {"kind": "gguf", "file": "0" * 64}


class Waits(logging.Handler):
    """Sets an event at the first message that somebody waits."""

    def __init__(self) -> None:
        super().__init__()
        self.event = Event()

    def emit(self, record: logging.LogRecord) -> None:
        if "waiting" in record.getMessage():
            self.event.set()


def test_second_conversion_of_a_model_reports_that_it_waits_and_takes_the_first(
    cache: Path, caplog: pytest.LogCaptureFixture
):
    started, waits, made = Event(), Waits(), []

    def convert(folder: Path) -> None:
        made.append(folder)
        started.set()
        assert waits.event.wait(30)
        (folder / "model.safetensors").write_bytes(b"weights")

    logger = logging.getLogger("acdc_pipeline.models.conversion.cache")
    logger.addHandler(waits)
    with caplog.at_level(logging.INFO, logger.name), ThreadPoolExecutor(2) as threads:
        first = threads.submit(convert_once, "tiny.gguf", PARTS, convert)
        assert started.wait(30)
        second = threads.submit(convert_once, "tiny.gguf", PARTS, convert)
        assert first.result(30) == second.result(30)
    logger.removeHandler(waits)
    assert len(made) == 1
    said = [record.getMessage() for record in caplog.records]
    assert said == ["waiting for another process that is converting tiny.gguf"]


def test_only_conversion_of_a_model_waits_for_nobody(cache: Path, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, "acdc_pipeline.models.conversion.cache"):
        found = convert_once("tiny.gguf", PARTS, lambda folder: (folder / "a.safetensors").touch())
    assert found.directory.is_relative_to(cache)
    assert caplog.records == []


def test_derive_once_calls_again_for_other_parts_or_a_damaged_note(tmp_path, monkeypatch):
    monkeypatch.setenv("ACDC_CACHE", str(tmp_path))
    calls = []

    def derive() -> dict[str, int]:
        calls.append(1)
        return {"calls": len(calls)}

    assert derive_once({"a": "1"}, derive) == {"calls": 1}
    assert derive_once({"a": "1"}, derive) == {"calls": 1}
    assert derive_once({"a": "2"}, derive) == {"calls": 2}
    for note in (tmp_path / "configs").iterdir():
        note.write_text("{")
    assert derive_once({"a": "1"}, derive) == {"calls": 3}


def test_derive_once_without_a_cache_that_can_be_written_still_derives(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ACDC_CACHE", str(tmp_path / "file"))
    assert derive_once({"a": "1"}, lambda: {"b": 2}) == {"b": 2}
