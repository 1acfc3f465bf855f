"""`acdc heads`, on models compiled by hand whose heads are known."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from acdc_pipeline.cli.commands.heads import _describe_size
from acdc_pipeline.specs.head_scores import parse_metric
from acdc_pipeline.store import open_store
from tests.command_line import Outcome, acdc

MODEL = "zoo:compiled-lookup"


def profiled(capsys, *more: str | Path) -> Outcome:
    return acdc(capsys, "heads", MODEL, "--prompts", "8", *more)


def test_heads_json_is_one_document_with_scores_roles_and_where_it_is_stored(capsys, store_url):
    found = profiled(capsys, "--json")
    assert found.code == 0
    document = found.document
    assert document["model"] == MODEL
    (profile,) = document["profiles"]
    assert profile["task"] == "compiled_lookup"
    assert profile["method"]["name"] == "profile"
    assert profile["edges_kept"] is None
    assert profile["metrics"]["model_accuracy"] == 1.0
    assert profile["details"]["n_heads"] == 4
    assert profile["cached"] is False
    roles = {(role["head"], role["role"]) for role in profile["profile"]["roles"]}
    assert ("a0.h3", "previous_token") in roles
    assert ("a1.h1", "mover") in roles
    measured = {parse_metric(row["metric"])[0] for row in profile["scores"]}
    assert {"induction", "ov_copying", "direct_effect", "corrupted_ablation"} <= measured
    assert set(open_store(store_url).run_ids()) == {profile["run_id"]}
    assert Path(profile["path"], "profile.json").is_file()


def test_heads_again_answer_from_the_store_with_the_same_document(capsys):
    first = profiled(capsys, "--json").document["profiles"][0]
    second = profiled(capsys, "--json").document["profiles"][0]
    assert (first.pop("cached"), second.pop("cached")) == (False, True)
    assert first == second


def test_heads_for_people_name_the_roles_and_draw_the_mosaic(capsys):
    found = profiled(capsys, "--score", "previous_token")
    assert found.code == 0
    assert "2 layers of 4 heads" in found.out
    assert "██ 1.00" in found.out
    lines = [line.split("  ") for line in found.out.splitlines()]
    (line,) = [line for line in lines if line[0] == "a0.h3"]
    assert [part.strip() for part in line if part][:3] == [
        "a0.h3",
        "a previous-token head",
        "random tokens",
    ]
    assert "heads without a role" in found.err
    assert "(was there already)" in profiled(capsys).out


def test_heads_score_on_a_task_is_drawn_for_each_task(capsys, tmp_path):
    pairs = tmp_path / "mine.jsonl"
    pair = {"clean": [0, 3, 4], "corrupted": [0, 5, 4], "correct": 6, "incorrect": 7}
    pairs.write_text(json.dumps(pair) + "\n" + json.dumps(pair | {"correct": 8}))
    tasks = f"compiled_lookup,{pairs}"
    found = profiled(capsys, "--tasks", tasks, "--score", "direct_effect")
    assert found.code == 0
    assert "Direct logit attribution on compiled_lookup" in found.out
    assert "Direct logit attribution on mine" in found.out
    assert "on mine" in found.out


def test_heads_text_is_measured_once_beside_the_profiles(capsys, tmp_path):
    plain = profiled(capsys, "--json").document
    assert "text" not in plain
    text, lines = tmp_path / "text.txt", tmp_path / "lines.jsonl"
    text.write_text("a b c d e f " * 40)
    lines.write_text(json.dumps({"text": "a b c a b c " * 5, "id": 1}) + "\n")
    both = ("--text", text, "--text", lines)
    document = profiled(capsys, *both, "--json").document
    assert document["profiles"][0]["run_id"] == plain["profiles"][0]["run_id"]
    assert document["profiles"][0]["cached"]
    found = document["text"]
    assert found["task"] == "text.txt, lines.jsonl"
    assert not found["cached"]
    assert found["text"]["tokens"] == sum(one["tokens"] for one in found["text"]["sources"])
    again = profiled(capsys, *both)
    assert f"on {found['task']}: " in again.out
    assert "of all attention rests on the first token" in again.out
    assert profiled(capsys, *both, "--json").document["text"]["cached"]
    shorter = profiled(capsys, *both, "--text-tokens", "100", "--text-context", "9", "--json")
    assert shorter.document["text"]["text"]["tokens"] == 100
    assert shorter.document["text"]["text"]["width"] == 9
    listed = acdc(capsys, "runs", "list")
    assert listed.code == 0
    assert "lines.jsonl" in listed.out
    shown = acdc(capsys, "runs", "show", found["run_id"])
    assert "heads on ordinary text" in shown.out


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--score", "inductoin"), ("unknown score 'inductoin'", "did you mean 'induction'?")),
        (("--tasks", ","), ("--tasks", "names no task")),
        (("--tasks", "ioii"), ("unknown task 'ioii'", "did you mean 'ioi'?")),
        (("--prompts", "1"), ("--prompts", "at least 2")),
        (("--text", "nowhere.txt"), ("nowhere.txt", "--text", "cannot be read")),
        (("--text-tokens", "500"), ("--text-tokens", "there is no text")),
        (("--text-tokens", "5"), ("--text-tokens", "at least 100")),
    ],
)
def test_heads_with_bad_input_say_what_is_wrong(capsys, arguments, parts, store_url):
    profiled(capsys, *arguments).refuses(*parts)
    assert not Path(store_url).exists()


def test_heads_text_that_is_no_text_or_empty_is_refused(capsys, tmp_path, store_url):
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    profiled(capsys, "--text", tmp_path / "binary").refuses("binary", "not text in UTF-8")
    (tmp_path / "empty").write_text(" \n")
    profiled(capsys, "--text", tmp_path / "empty").refuses("empty", "is empty")
    (tmp_path / "short.txt").write_text("a b c")
    profiled(capsys, "--text", tmp_path / "short.txt").refuses("short.txt", "heads do: 3", "100")
    assert list(open_store(store_url).run_ids()) == []  # refused before the profiles
    (tmp_path / "other.jsonl").write_text('{"text": "a"}\n{"words": "a"}\n')
    profiled(capsys, "--text", tmp_path / "other.jsonl").refuses("line 2 has no text")
    (tmp_path / "twice").mkdir()
    (tmp_path / "twice" / "short.txt").write_text("a b c")
    names = ("--text", tmp_path / "short.txt", "--text", tmp_path / "twice" / "short.txt")
    profiled(capsys, *names).refuses("short.txt", "two texts have this name")


def test_runs_list_and_show_tell_of_a_profile(capsys):
    run_id = profiled(capsys, "--json").document["profiles"][0]["run_id"]
    listed = acdc(capsys, "runs", "list")
    assert listed.code == 0
    assert "profile" in listed.out
    shown = acdc(capsys, "runs", "show", run_id)
    assert shown.code == 0
    # a quarter of the 16 positions
    assert "profile of heads, period 4 (at most 50), 32 sequences, 512 tokens" in shown.out
    assert "8, " in shown.out
    assert acdc(capsys, "runs", "export", run_id, "--out", "x.dot").code == 2


DOCSTRING = ("heads", "zoo:gpt2-4l-s0", "--tasks", "docstring", "--prompts", "4")


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the second test that profiles with `DOCSTRING` finds what the first has stored."""
    return tmp_path_factory.mktemp("profiles")


def test_heads_for_people_name_near_misses_and_what_keeps_scores_from_telling(
    capsys, shared_store: Path
):
    found = acdc(capsys, *DOCSTRING, "--store", shared_store)
    assert found.code == 0
    # its attention is broad: no head looks at one position alone
    assert (
        "a3.h3: near miss: current_token 0.18, line 0.40, null 0.13 (below the line)" in found.err
    )
    short = profiled(capsys)
    assert "random tokens repeat after only 4 (a context of 16 positions)" in short.err
    apart = acdc(capsys, "heads", "zoo:attn-4l", "--tasks", "induction", "--prompts", "4")
    (line,) = [line for line in apart.out.splitlines() if line.startswith("a0.h1 ")]
    assert "a previous-token head" in line
    assert "below 0.40, stands out" in line


def test_heads_names_the_nearest_misses_and_where_the_others_are(
    capsys, monkeypatch, shared_store: Path
):
    monkeypatch.setattr("acdc_pipeline.cli.views.heads.MAX_NEAR_MISSES", 2)
    found = acdc(capsys, *DOCSTRING, "--store", shared_store)
    assert re.findall(r"^a[0-9]\.h[0-9]", found.err, re.MULTILINE) == ["a2.h3", "a3.h3"]
    assert "(1 more near miss: --json, or the pages of the heads in the wiki)" in found.err


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ((), "4 layers of 2 heads"),
        (("am",) * 4, "4 layers of 2 heads"),
        (("rm", "am", "rm", "rm"), "4 layers, of which 1 has 2 heads"),
        (("a", "m", "a", "r"), "4 layers, of which 2 have 2 heads"),
    ],
)
def test_describe_size_counts_layers_with_heads(layers: tuple[str, ...], expected: str):
    details = {"n_layers": 4, "n_heads": 2, **({"layers": list(layers)} if layers else {})}
    assert _describe_size(details) == expected
