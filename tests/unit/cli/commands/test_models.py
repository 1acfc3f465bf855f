"""`acdc models`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import checkpoints
from tests.command_line import acdc


def mamba(folder: Path) -> Path:
    """A checkpoint of an architecture that is refused for a reason of its own."""
    folder.mkdir(parents=True)
    config = {
        "architectures": ["MambaForCausalLM"],
        "n_layer": 2,
        "num_attention_heads": 2,
        "hidden_size": 8,
        "vocab_size": 16,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"\x02\x00\x00\x00\x00\x00\x00\x00{}")
    return folder


def test_models_list_names_the_zoo_and_its_sizes(capsys):
    listed = acdc(capsys, "models", "list", "--json")
    assert listed.code == 0
    zoo = {model["ref"]: model for model in listed.document["zoo"]}
    # 1 layer of 4 heads and an MLP: 4*3 edges into heads, 5 into the MLP, 6 into the logits
    assert zoo["zoo:compiled-or"]["n_edges"] == 23
    assert zoo["zoo:compiled-or"]["held_out_accuracy"] == {"compiled_or": 1.0}
    assert "GPT2LMHeadModel" in listed.document["architectures"]
    assert "zoo:compiled-or" in acdc(capsys, "models", "list").out


def test_models_list_says_what_was_learnt_and_what_compiled_circuits_show(capsys):
    trained, compiled = acdc(capsys, "models", "list").out.split("Compiled by hand")
    assert "previous_token 9" in trained
    assert "ioi 9" in trained
    assert "compiled" not in trained
    rows = {line.split()[0]: line for line in compiled.splitlines() if line.startswith("zoo:")}
    assert len(rows) == 14
    assert "V-composition" in rows["zoo:compiled-lookback"]


def test_models_list_coverage_counts_every_class_and_groups_refusals_by_reason(capsys):
    listed = acdc(capsys, "models", "list", "--coverage", "--json")
    assert listed.code == 0
    document = listed.document
    assert {"class": "GPT2LMHeadModel", "title": "GPT-2"} in [
        {"class": row["class"], "title": row["title"]} for row in document["reproduced"]
    ]
    assert document["counts"] == {
        kind: len(document[kind]) for kind in ("reproduced", "refused", "unknown")
    }
    names = {row["class"] for kind in document["counts"] for row in document[kind]}
    assert len(names) == sum(document["counts"].values())
    assert [row["library"] for row in document["libraries"]] == ["transformers", "transformer-lens"]
    text = acdc(capsys, "models", "list", "--coverage").out
    refused = [block for block in text.split("\n\n") if block.startswith("refused (")]
    assert any("no attention heads" in block and "Mamba2ForCausalLM" in block for block in refused)
    for kind, count in document["counts"].items():
        assert count == 0 or f"{kind} ({count})" in text or kind == "refused"


def test_models_list_coverage_fits_a_terminal_of_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(len, acdc(capsys, "models", "list", "--coverage").out.splitlines())) <= 80


def test_models_show_says_size_and_support(capsys):
    shown = acdc(capsys, "models", "show", "zoo:compiled-or")
    assert shown.code == 0
    assert "1 layer of 4 heads" in shown.out
    assert "known by construction: redundancy" in shown.out
    assert acdc(capsys, "models", "show", "zoo:compiled-or", "--json").document["supported"] is True


def test_models_show_says_why_an_architecture_is_refused(capsys, tmp_path):
    shown = acdc(capsys, "models", "show", f"dir:{mamba(tmp_path / 'mamba')}")
    assert shown.code == 0
    assert "no: it has no attention heads" in shown.out


def test_models_check_measures_the_distance_to_the_models_own_logits(capsys):
    checked = acdc(capsys, "models", "check", "zoo:compiled-or", "--json")
    assert checked.code == 0
    document = checked.document
    assert document["passed"] is True
    assert document["parity_error"] <= document["tolerance"]


def test_models_check_says_what_is_reproduced_and_how_it_is_searched(capsys, tmp_path):
    model = checkpoints.hugging_face("gemma2", tmp_path / "gemma2")
    checked = acdc(capsys, "models", "check", f"dir:{model}")
    assert checked.code == 0
    assert "Gemma 2 (Gemma2ForCausalLM)" in checked.out
    assert "scores capped at 1" in checked.out
    assert "recomputes every later layer" in checked.out
    assert "parity error" in checked.out


def test_models_check_refuses_an_architecture_that_is_not_reproduced(capsys, tmp_path):
    acdc(capsys, "models", "check", f"dir:{mamba(tmp_path / 'mamba')}").refuses(
        "MambaForCausalLM", "no attention heads", "acdc models list"
    )


@pytest.mark.parametrize("command", ["show", "check"])
def test_models_unknown_name_suggests_the_nearest(capsys, command: str):
    acdc(capsys, "models", command, "zoo:compiled-ro").refuses(
        "unknown zoo model 'compiled-ro'", "did you mean 'compiled-or'?"
    )
    acdc(capsys, "models", command, "attn-2l").refuses(
        "'attn-2l' is not a model reference", "zoo:NAME"
    )


def test_models_missing_directory_is_named(capsys, tmp_path):
    acdc(capsys, "models", "show", f"dir:{tmp_path / 'none'}").refuses(str(tmp_path / "none"))
