"""`acdc models convert`, and what a converted model is good for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.checkpoint_layouts import Grokking, Hooked, LectureGpt, NanoGpt, randomize
from tests.command_line import acdc


def test_convert_fewer_outputs_than_inputs_finds_circuits_of_token_ids(tmp_path: Path, capsys):
    # 12 tokens are read, the last of which is '='; 11 are written
    module = randomize(Grokking(p=11, written=11), dtype=torch.float32)
    state = {name.removeprefix("m."): t for name, t in module.state_dict().items()}
    torch.save({"model": state, "config": {"lr": 1e-3, "act_type": "ReLU"}}, tmp_path / "g.pth")
    shown = acdc(capsys, "models", "convert", tmp_path / "g.pth", tmp_path / "g")
    assert shown.code == 0, shown.err
    assert "checkpoint (config)" in shown.out
    assert "1 tensor: blocks.0.attn.mask" in shown.out

    pairs = [
        {
            "clean": [a, 2, 11],
            "corrupted": [a, 5, 11],
            "correct": [(a + 2) % 11],
            "incorrect": [(a + 5) % 11],
        }
        for a in range(3)
    ]
    task = tmp_path / "sum.jsonl"
    task.write_text("\n".join(map(json.dumps, pairs)))
    model = f"dir:{tmp_path / 'g'}"
    # 2 heads read one source in each of 3 slots, the MLP reads 3, the logits 4
    assert acdc(capsys, "models", "show", model, "--json").document["n_edges"] == 13
    found = acdc(capsys, "discover", task, model, "--threshold", "0.001")
    assert found.code == 0, found.err
    heads = acdc(capsys, "heads", model, "--tasks", task)
    assert heads.code == 0, heads.err

    pairs[0]["correct"] = [11]
    task.write_text("\n".join(map(json.dumps, pairs)))
    acdc(capsys, "discover", task, model).refuses("11 is not a token id", "0 to 10")


def test_convert_json_says_where_settings_come_from_and_heads_has_scores(tmp_path: Path, capsys):
    torch.save(randomize(LectureGpt(), dtype=torch.float32).state_dict(), tmp_path / "gpt.pt")
    arguments = (tmp_path / "gpt.pt", tmp_path / "gpt", "--act-fn", "relu", "--json")
    done = acdc(capsys, "models", "convert", *arguments).document
    assert done["layout"] == "gpt-lecture"
    assert done["settings"]["n_heads"] == {"value": 2, "from": "tensors"}
    assert done["settings"]["eps"] == {"value": 1e-05, "from": "assumed"}
    assert len([name for name in done["dropped"] if name.endswith("tril")]) == 4
    assert done["filled"] == [
        f"blocks.{layer}.attn.b_{slot}" for layer in range(2) for slot in "QKV"
    ]
    task = tmp_path / "ids.jsonl"
    pair = {"clean": [1, 2, 3], "corrupted": [1, 4, 3], "correct": [5], "incorrect": [6]}
    task.write_text("\n".join([json.dumps(pair), json.dumps({**pair, "clean": [7, 2, 3]})]))
    acdc(capsys, "heads", done["model"]).refuses("such as a .jsonl file of them")
    heads = acdc(capsys, "heads", done["model"], "--tasks", task, "--json")
    assert heads.code == 0, heads.err
    (profile,) = heads.document["profiles"]
    assert {row["layer"] for row in profile["scores"]} == {0, 1}


def test_convert_names_the_option_that_decided_and_every_kind_of_absent_bias(
    tmp_path: Path, capsys
):
    module = randomize(NanoGpt(heads=2, bias=False), dtype=torch.float32)
    torch.save(module.state_dict(), tmp_path / "gpt.pt")
    options = ("--n-heads", "4", "--act-fn", "gelu")
    shown = acdc(capsys, "models", "convert", tmp_path / "gpt.pt", tmp_path / "a", *options).out
    lines = [line.split() for line in shown.splitlines()]
    assert ["n_heads", "4", "option"] in lines
    assert ["d_head", "2", "n_heads", "and", "the", "tensors"] in lines
    assert ["d_model", "8", "tensors"] in lines
    words = shown.replace("\n", " ").split()
    assert "blocks.*.attn.b_Q," in words
    assert {"ln_final.b", "ln_final.b,"} & set(words)
    by_width = ("--config", tmp_path / "c.json", "--act-fn", "gelu", "--json")
    (tmp_path / "c.json").write_text('{"d_head": 2}')
    done = acdc(capsys, "models", "convert", tmp_path / "gpt.pt", tmp_path / "b", *by_width)
    settings = done.document["settings"]
    assert settings["d_head"] == {"value": 2, "from": "c.json"}
    assert settings["n_heads"] == {"value": 4, "from": "d_head and the tensors"}


def test_convert_says_that_an_activation_is_unused_and_tasks_of_ids_are_shown(
    tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    module = randomize(Hooked(attn_only=True), dtype=torch.float32)
    state = {name.removeprefix("m."): t for name, t in module.state_dict().items()}
    torch.save(state, "toy.pt")
    options = ("--act-fn", "relu", "--json")
    done = acdc(capsys, "models", "convert", "toy.pt", "toy", *options).document
    told = "tensors (no MLPs: relu of option is unused)"
    assert done["settings"]["act_fn"] == {"value": None, "from": told}
    pair = {"clean": [1, 2, 3], "corrupted": [1, 4, 3], "correct": [5], "incorrect": [6]}
    Path("ids.jsonl").write_text(json.dumps(pair) + "\n" + json.dumps(pair))
    shown = acdc(capsys, "tasks", "show", "ids.jsonl", "--model", "dir:toy", "--json")
    first = shown.document["prompts"][0]
    assert (first["correct"], first["incorrect"], first["tokens"]) == (["5"], ["6"], 3)
    checked = acdc(capsys, "tasks", "check", "ids.jsonl", "--model", "dir:toy")
    assert "2 prompts of 3 tokens" in checked.out
    acdc(capsys, "tasks", "check", "ioi", "--model", "dir:toy").refuses("needs a tokenizer")
    acdc(capsys, "heads", "dir:toy").refuses("acdc heads --tasks FILE.jsonl")
    # a context of 14 positions holds 3 tokens twice, with the first: at most a quarter of it
    heads = acdc(capsys, "heads", "dir:toy", "--tasks", "ids.jsonl")
    assert "n = 3 tokens, then the same n again: 7 positions with the first" in heads.out
    (run,) = acdc(capsys, "runs", "list", "--json").document["runs"]
    assert "period 3 (at most 50)" in acdc(capsys, "runs", "show", run["run_id"][:8]).out


def test_convert_missing_file_is_refused(tmp_path: Path, capsys):
    acdc(capsys, "models", "convert", tmp_path / "no.pth", tmp_path / "out").refuses("no such file")
