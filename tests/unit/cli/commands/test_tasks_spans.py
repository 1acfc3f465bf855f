"""`acdc tasks spans`: a proposal, edited, and written into the pairs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from acdc_pipeline.specs import find_task
from tests.command_line import acdc

MODEL = ("--model", "zoo:compiled-sum")
SUMS = ((2, 4), (0, 3), (5, 1))


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "sums.jsonl"
    rows = [
        {"clean": f"{a} + {b} =", "corrupted": "1 + 0 =", "correct": f" {a + b}", "bos": True}
        for a, b in SUMS
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def test_tasks_spans_prints_the_patterns_of_prompts(capsys, pairs):
    shown = acdc(capsys, "tasks", "spans", pairs.name, *MODEL)
    assert shown.code == 0
    assert shown.out.splitlines()[-6:] == [
        '  -  # 3 prompts, such as "<bos> 2 + 4 ="',
        '    - {span: bos, text: "<bos>"}',
        '    - {span: slot1}  # " 2", " 0", " 5"',
        '    - {span: plus_sign, text: " +"}',
        '    - {span: slot2}  # " 4", " 3", " 1"',
        '    - {span: END, text: " ="}',
    ]


def test_an_edited_proposal_is_written_into_the_pairs_and_names_their_tokens(capsys, pairs):
    wrote = acdc(capsys, "tasks", "spans", pairs.name, *MODEL, "--out", "spans.yaml")
    assert wrote.code == 0
    assert (
        "acdc tasks spans sums.jsonl --model zoo:compiled-sum --spans spans.yaml --out NEW.jsonl"
        in wrote.err.replace("\n", " ")
    )
    spans = Path("spans.yaml")
    edited = spans.read_text().replace("slot1", "left").replace("slot2", "right")
    spans.write_text(edited.replace("plus_sign", "rest"))
    done = acdc(
        capsys, "tasks", "spans", pairs.name, *MODEL, "--spans", "spans.yaml", "--out", "new.jsonl"
    )
    assert done.code == 0
    rows = [json.loads(line) for line in Path("new.jsonl").read_text().splitlines()]
    assert [row["spans"] for row in rows] == [
        {"bos": [0], "left": [1], "right": [3], "END": [4]}
    ] * 3
    assert [row["correct"] for row in rows] == [[" 6"], [" 3"], [" 6"]]
    assert find_task("new.jsonl").definition_hash() == find_task(pairs).definition_hash()
    shown = acdc(capsys, "tasks", "show", "new.jsonl", *MODEL)
    assert "[bos <bos>] [left 2] + [right 4] [END =]" in shown.out


def test_all_pairs_get_spans_though_few_decide_the_patterns(capsys, pairs):
    done = acdc(
        capsys, "tasks", "spans", pairs.name, *MODEL, "--prompts", "2", "--out", "new.jsonl"
    )
    assert done.code == 0
    assert len(Path("new.jsonl").read_text().splitlines()) == 3


def test_pairs_that_fit_no_pattern_are_refused_with_their_line(capsys, pairs):
    acdc(
        capsys, "tasks", "spans", pairs.name, *MODEL, "--prompts", "1", "--out", "new.jsonl"
    ).refuses("sums.jsonl:2: patterns: '<bos> 0 + 3 =' fits none of 1 patterns", "--prompts")
    assert not Path("new.jsonl").exists()


def test_a_task_that_makes_its_prompts_has_spans_of_its_own(capsys):
    model = ("--model", "zoo:compiled-gallery")
    shown = acdc(capsys, "tasks", "spans", "compiled_gallery", *model, "--prompts", "4")
    assert '{span: bos, text: "<bos>"}' in shown.out
    acdc(capsys, "tasks", "spans", "compiled_gallery", *model, "--out", "new.jsonl").refuses(
        "--out: the generator template makes its prompts, and names their spans itself"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("patterns: []", "spans.yaml: patterns: [] is not at least 1 long"),
        ("pattern: 1", "spans.yaml: pattern: unknown key; did you mean 'patterns'?"),
        ("patterns: [[{span: a b}]]", "patterns.0.0.span: 'a b' does not fit"),
        ("patterns: [[{span: a, tokens: [2, 1]}]]", "patterns.0.0.tokens: [2, 1] is no range"),
        ("patterns: [[{span: a, text: b, tokens: [0, 1]}]]", "does not vary is one token"),
    ],
)
def test_a_file_of_patterns_that_is_not_valid_is_refused(capsys, pairs, text: str, message: str):
    Path("spans.yaml").write_text(text)
    acdc(
        capsys, "tasks", "spans", pairs.name, *MODEL, "--spans", "spans.yaml", "--out", "n.jsonl"
    ).refuses(message)
    assert not Path("n.jsonl").exists()


def test_an_existing_file_is_kept_without_force(capsys, pairs):
    before = pairs.read_text()
    acdc(capsys, "tasks", "spans", pairs.name, *MODEL, "--out", pairs.name).refuses(
        "sums.jsonl: exists already"
    )
    assert pairs.read_text() == before
