from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acdc_pipeline.execution.submission.submission import yaml_text
from acdc_pipeline.specs.files import read_yaml
from tests.strategies import json_data


@given(st.dictionaries(st.text(max_size=20), json_data(), max_size=4))
def test_data_written_as_yaml_reads_as_that_data(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("yaml") / "data.yaml"
    path.write_text(yaml_text(data), encoding="utf-8")
    assert read_yaml(path) == data


@pytest.mark.parametrize(
    "text",
    [
        "1e-3",
        "No",
        "12:30",
        "null",
        "&a",
        "\x7f",
        "\x85",
        "\u2028",
        "\ufeff",
        "\uffff",
        "🜁",
        "\r\n",
    ],
)
def test_texts_that_yaml_reads_as_something_else_stay_texts(tmp_path: Path, text: str):
    (tmp_path / "data.yaml").write_text(yaml_text({"a": text}), encoding="utf-8")
    assert read_yaml(tmp_path / "data.yaml") == {"a": text}
