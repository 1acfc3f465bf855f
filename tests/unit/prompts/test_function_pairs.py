"""Prompts from a function of an installed package: a real one, in a folder on the path."""

from __future__ import annotations

from pathlib import Path

import pytest

from acdc_pipeline.errors import PromptError, UnknownName
from acdc_pipeline.prompts import make_prompts
from acdc_pipeline.specs import TaskSpec, parse
from tests.tokenizers import word_tokenizer

MODULE = """
from acdc_pipeline.prompts import Pair

def count(*, n, rng, split, tokenizer, start, step=1, most=1000):
    numbers = [start + rng.randrange(3) + i * step for i in range(min(n, most))]
    return [Pair(f"n {k}", f"n {k + 1}", (f" {k + 2}",), ()) for k in numbers]

def strings(*, n, **options):
    return ["not a pair"] * n
"""
METADATA = "Metadata-Version: 2.1\nName: prompts-for-tests\nVersion: 1.0\n"
ENTRY_POINTS = """
[acdc_pipeline.generators]
count = prompts_for_tests:count
strings = prompts_for_tests:strings
"""
WORDS = word_tokenizer(["n", *map(str, range(100))])


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = tmp_path / "prompts_for_tests-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(METADATA)
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    (tmp_path / "prompts_for_tests.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)


def counting(name: str = "count", **options: int) -> TaskSpec:
    data = {
        "name": "counting",
        "title": "t",
        "behaviour": "b",
        "source": {"paper": "p"},
        "generator": {"kind": "function", "name": name, "bos": True, "options": options},
        "metrics": {"discovery": "kl", "report": []},
    }
    return parse(data, TaskSpec, "task.yaml")


@pytest.mark.usefixtures("installed")
def test_installed_function_gets_its_options_and_a_seeded_stream():
    made = make_prompts(counting(start=10, step=5), WORDS, n=4, seed=0)
    again = make_prompts(counting(start=10, step=5), WORDS, n=4, seed=0)
    assert made.clean_text == again.clean_text
    assert [int(text.split()[1]) // 5 for text in made.clean_text] == [2, 3, 4, 5]


@pytest.mark.usefixtures("installed")
def test_function_that_gives_too_few_pairs_is_an_error():
    with pytest.raises(PromptError, match=r"generator\.name: 'count' gave 2 pairs"):
        make_prompts(counting(start=1, most=2), WORDS, n=4, seed=0)


@pytest.mark.usefixtures("installed")
def test_function_that_gives_something_else_is_an_error():
    with pytest.raises(PromptError, match="something else than pairs"):
        make_prompts(counting("strings"), WORDS, n=4, seed=0)


@pytest.mark.usefixtures("installed")
def test_unknown_function_is_an_error_with_the_nearest_name():
    with pytest.raises(UnknownName, match="did you mean 'count'"):
        make_prompts(counting("cuont"), WORDS, n=4, seed=0)
