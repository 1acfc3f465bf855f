"""The progress bar of a search in a notebook."""

from __future__ import annotations

import io
import sys
import types
from typing import Any

import pytest

from acdc_pipeline.found_circuit import SearchBar, bar_where_seen


class ZMQInteractiveShell:
    """Named as the shell of ipykernel, by which a notebook is recognised."""


class NotebookStream(io.StringIO):
    """A stderr as ipykernel has it: no terminal."""

    encoding = "UTF-8"


def test_bar_in_a_notebook_is_plain_text_without_terminal_codes(monkeypatch: pytest.MonkeyPatch):
    ipython: Any = types.ModuleType("IPython")
    ipython.get_ipython = ZMQInteractiveShell
    stream = NotebookStream()
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setattr(sys, "stderr", stream)
    bar = bar_where_seen()
    assert isinstance(bar, SearchBar)
    bar.start(10, "ioi in a model")
    bar.advance(4, 1, 5)
    bar.finish()
    shown = stream.getvalue()
    assert "ioi in a model" in shown
    assert "\x1b" not in shown
    # every state overwrites its line, the last one with blanks
    assert "\n" not in shown
    assert shown.rstrip("\r").rpartition("\r")[2].strip() == ""
