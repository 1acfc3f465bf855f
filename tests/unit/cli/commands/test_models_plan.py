"""`acdc models plan`."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.docs_pages.outputs import OUTPUT
from tests.command_line import acdc

DOCS = Path(__file__).parents[4] / "docs"
LLAMA = f"dir:{DOCS.parent / 'benchmarks' / 'configs' / 'llama-3.1-8b'}"


def test_models_plan_shows_the_numbers_of_its_json(capsys):
    options = ("models", "plan", LLAMA, "--dtype", "bfloat16", "--cards", "1,2")
    document = acdc(capsys, *options, "--json").document
    assert document["parameters"] == 8_030_261_248
    assert [plan["cards"] for plan in document["plans"]] == [1, 1, 2, 2]
    shown = acdc(capsys, *options)
    assert "8.03 billion weights in bfloat16" in shown.out
    rows = [line.split() for line in shown.out.splitlines() if line.strip()[:1].isdigit()]
    assert [row[0] for row in rows] == ["1", "1", "2", "2"]
    for row, plan in zip(rows, document["plans"], strict=True):
        assert str(plan["prompts"]) in row


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--cards", "1,x"), "--cards"),
        (("--cards", "0"), "--cards"),
        (("--card-memory", "80 cats"), "--card-memory"),
        (("--rate", "0"), "--rate"),
        (("--rate", "nan"), "--rate"),
        (("--tokens", "0"), "--tokens"),
        (("--dtype", "float8"), "dtype"),
    ],
)
def test_models_plan_refuses_values_and_names_the_option(capsys, options, named):
    result = acdc(capsys, "models", "plan", LLAMA, *options)
    assert result.code == 2
    assert named in result.err


def test_docs_show_the_plans_as_they_are(capsys):
    page = (DOCS / "large-models.md").read_text(encoding="utf-8")
    shown = {found["command"]: found["shown"] for found in OUTPUT.finditer(page)}
    commands = [command for command in shown if "models plan" in command]
    assert len(commands) == 2
    for command in commands:
        words = [word.replace("dir:", f"dir:{DOCS.parent}/") for word in command.split()[3:]]
        out = acdc(capsys, *words).out.replace(f"{DOCS.parent}/", "")
        assert out.rstrip() == shown[command].rstrip()
