"""YAML reading: strict about keys, safe, and precise about where it failed."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from acdc_pipeline.errors import SpecError
from acdc_pipeline.specs import TaskSpec, load_yaml
from acdc_pipeline.specs.files import read_yaml


def written(folder: Path, text: str) -> Path:
    path = folder / "file.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("-2.5", -2.5),
        ("017", "017"),
        ("0x10", 16),
        ("no", "no"),
        ("12:30", "12:30"),
        ("2026-11-20", "2026-11-20"),
        ("~", None),
        ("true", True),
        ("1.0.1", "1.0.1"),
    ],
)
def test_yaml_scalars_are_those_of_yaml_1_2(tmp_path: Path, text: str, value: object):
    assert read_yaml(written(tmp_path, f"a: {text}")) == {"a": value}


def test_yaml_syntax_error_names_the_line(tmp_path: Path):
    path = written(tmp_path, "a: 1\nb: [1, 2\nc: 3\n")
    with pytest.raises(SpecError) as raised:
        read_yaml(path)
    assert raised.value.where == f"{path}:3"


def test_yaml_duplicate_key_is_rejected_with_its_line(tmp_path: Path):
    path = written(tmp_path, "a: 1\nb:\n  c: 1\n  c: 2\n")
    with pytest.raises(SpecError, match="'c' is there twice") as raised:
        read_yaml(path)
    assert raised.value.where == f"{path}:4"


def test_yaml_object_tags_are_not_executed(tmp_path: Path):
    with pytest.raises(SpecError, match="could not determine a constructor"):
        read_yaml(written(tmp_path, "a: !!python/object/apply:os.getcwd []"))


def test_yaml_endless_alias_is_an_error_not_a_hang(tmp_path: Path):
    with pytest.raises(SpecError):
        load_yaml(written(tmp_path, "name: &a [*a]\n"), TaskSpec)


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just text"])
def test_yaml_without_keys_is_rejected(tmp_path: Path, text: str):
    with pytest.raises(SpecError, match="has to hold keys and values"):
        load_yaml(written(tmp_path, text), TaskSpec)


def test_yaml_missing_file_is_named(tmp_path: Path):
    with pytest.raises(SpecError, match="no such file") as raised:
        load_yaml(tmp_path / "none.yaml", TaskSpec)
    assert raised.value.where == str(tmp_path / "none.yaml")


def test_yaml_that_is_not_text_is_rejected(tmp_path: Path):
    path = tmp_path / "file.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="not UTF-8"):
        read_yaml(path)


def test_yaml_aliases_of_aliases_are_refused_at_once_with_their_line(tmp_path: Path):
    names = "abcdefghi"
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for before, name in itertools.pairwise(names):
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]")
    path = written(tmp_path, "\n".join(lines))
    with pytest.raises(SpecError, match="anchors and aliases") as raised:
        read_yaml(path)
    assert raised.value.where == f"{path}:1"


def test_yaml_merge_key_of_an_alias_is_refused(tmp_path: Path):
    with pytest.raises(SpecError, match="anchors and aliases"):
        read_yaml(written(tmp_path, "a: &base {b: 1}\nc:\n  <<: *base\n"))


def test_yaml_nested_deeper_than_python_follows_is_rejected(tmp_path: Path):
    path = written(tmp_path, "a: " + "[" * 3000 + "]" * 3000)
    with pytest.raises(SpecError, match="nested too deeply") as raised:
        read_yaml(path)
    assert raised.value.where == str(path)


def test_yaml_behind_a_loop_of_links_is_named(tmp_path: Path):
    path = tmp_path / "loop.yaml"
    path.symlink_to(path)
    with pytest.raises(SpecError, match="cannot be read") as raised:
        read_yaml(path)
    assert raised.value.where == str(path)
