"""`acdc models convert`, and what a converted model is good for."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from tests.checkpoint_layouts import Grokking, LectureGpt, randomize
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


def test_convert_missing_file_is_refused(tmp_path: Path, capsys):
    acdc(capsys, "models", "convert", tmp_path / "no.pth", tmp_path / "out").refuses("no such file")
