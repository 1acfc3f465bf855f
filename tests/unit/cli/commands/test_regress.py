"""`acdc regress` end to end: no false alarm, every kind of change caught and named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from safetensors.torch import load_file, save_file

from acdc_pipeline.cli.main import main
from acdc_pipeline.models.zoo import zoo_path
from tests.command_line import Outcome, acdc
from tests.support import REPOSITORY

MODEL = "attn-2l"
SWEEP = {
    "name": "small",
    "tasks": ["induction"],
    "models": [f"zoo:{MODEL}"],
    "methods": [{"name": "acdc", "thresholds": [0.3]}],
    "prompts": 8,
    "seeds": [0],
}
REASON = "measured for a test"
CELL = f"induction.zoo-{MODEL}.acdc-0.3.json"

Regress = Callable[..., Outcome]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two sweeps of one cell each, and their baselines in `baselines`."""
    folder = tmp_path_factory.mktemp("regression")
    gradients = SWEEP | {"methods": [{"name": "eap-ig-inputs", "share": 0.1}]}
    for name, sweep in (("small", SWEEP), ("gradients", gradients)):
        (folder / f"{name}.yaml").write_text(json.dumps(sweep))
        arguments = ["regress", str(folder / f"{name}.yaml"), "--device", "cpu"]
        arguments += ["--baselines", str(folder / "baselines")]
        assert main([*arguments, "--update-baseline", "--reason", REASON]) == 0
    return folder


@pytest.fixture
def regress(
    measured: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Regress:
    """Runs `acdc regress` on the sweep of `measured` with its baselines, unless told others."""
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.setenv("CI", "1")

    def run(
        *arguments: str | Path,
        sweep: Path | None = None,
        baselines: Path = measured / "baselines",
    ) -> Outcome:
        where = ("--device", "cpu", "--baselines", baselines)
        return acdc(capsys, "regress", sweep or measured / "small.yaml", *where, *arguments)

    return run


@pytest.fixture
def variant(tmp_path: Path) -> Path:
    """A copy of the model to be changed."""
    return shutil.copytree(zoo_path(MODEL), tmp_path / "variant")


def in_place(variant: Path) -> tuple[str, str]:
    return "--replace", f"zoo:{MODEL}=dir:{variant}"


def only_cell(outcome: Outcome) -> dict:
    (cell,) = outcome.document["cells"]
    return cell


def test_regress_baseline_says_reason_seeds_and_environment(measured: Path):
    file = measured / "baselines" / CELL
    baseline = json.loads(file.read_text())
    assert baseline["reason"] == REASON
    assert baseline["tolerance"]["seeds"] == [1, 2, 3, 4, 5]
    assert baseline["environment"]["torch"] == version("torch")
    assert str(measured) not in file.read_text()


def test_regress_unchanged_tree_is_ok(regress: Regress):
    outcome = regress("--json")
    assert outcome.code == 0, outcome.err
    assert only_cell(outcome)["status"] == "ok"


def test_regress_unchanged_tree_is_ok_with_other_threads(regress: Regress, measured: Path):
    # gradients take a few large steps where a search takes hundreds of small ones, for each of
    # which two threads of a busy machine would wait for one another
    before = torch.get_num_threads()
    try:
        outcome = regress("--threads", "2", "--json", sweep=measured / "gradients.yaml")
    finally:
        torch.set_num_threads(before)
    assert outcome.code == 0, outcome.err
    assert only_cell(outcome)["status"] == "ok"


def test_regress_writes_junit_markdown_and_the_step_summary(
    regress: Regress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    step = tmp_path / "step.md"
    step.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(step))
    junit, markdown = tmp_path / "out.xml", tmp_path / "out.md"
    outcome = regress("--junit-xml", junit, "--markdown", markdown)
    assert outcome.code == 0
    assert "1 cell: 1 ok" in outcome.out
    suite = ElementTree.parse(junit).getroot()[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("1", "0", "0")
    assert step.read_text() == "before\n" + markdown.read_text()


def test_regress_swapped_heads_are_drift_and_named(regress: Regress, variant: Path):
    tensors = load_file(variant / "model.safetensors")
    # the model computes what it did; but its heads have each other's names
    for name in ("W_Q", "W_K", "W_V", "W_O", "b_Q", "b_K", "b_V"):
        whole = tensors[f"blocks.1.attn.{name}"]
        order = list(range(whole.shape[0]))
        order[2], order[5] = 5, 2
        tensors[f"blocks.1.attn.{name}"] = whole[order].contiguous()
    save_file(tensors, variant / "model.safetensors")
    outcome = regress(*in_place(variant), "--json")
    assert outcome.code == 1, outcome.err
    causes = only_cell(outcome)["causes"]
    assert causes[0] == "heads a1.h2 and a1.h5 changed places"
    assert causes[-1].startswith("weights changed: 7 of 25 tensors")


def test_regress_other_norm_epsilon_is_drift_and_named(regress: Regress, variant: Path):
    config = json.loads((variant / "config.json").read_text())
    (variant / "config.json").write_text(json.dumps(config | {"eps": 1e-3}))
    outcome = regress(*in_place(variant))
    assert outcome.code == 1, outcome.err
    assert "config changed: eps 1e-05 -> 0.001" in outcome.out


def test_regress_wrong_tokenizer_is_drift_and_named(regress: Regress, variant: Path):
    path = variant / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    words = [word for word, index in vocabulary.items() if index > 10]
    rotated = dict(zip(words, [vocabulary[w] for w in (*words[1:], words[0])], strict=True))
    vocabulary.update(rotated)
    path.write_text(json.dumps(tokenizer))
    outcome = regress(*in_place(variant))
    assert outcome.code == 1, outcome.err
    assert "tokenizer changed" in outcome.out


def test_regress_prompts_that_no_longer_fit_the_tokenizer_are_drift(
    regress: Regress, variant: Path
):
    path = variant / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    # hardly any token is left that random sequences may be made of
    vocabulary = tokenizer["model"]["vocab"]
    kept = {word: index for word, index in vocabulary.items() if index < 8}
    path.write_text(json.dumps(tokenizer | {"model": tokenizer["model"] | {"vocab": kept}}))
    outcome = regress(*in_place(variant), "--json")
    assert outcome.code == 1, outcome.err
    assert only_cell(outcome)["causes"][0] == "tokenizer changed"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_regress_missing_model_file_is_an_error_and_no_drift(
    regress: Regress, variant: Path, tmp_path: Path, name: str
):
    (variant / name).unlink()
    outcome = regress(*in_place(variant), "--junit", tmp_path / "out.xml", "--json")
    assert outcome.code == 3, outcome.err
    assert only_cell(outcome)["status"] == "error"
    suite = ElementTree.parse(tmp_path / "out.xml").getroot()[0]
    assert suite.get("failures") == "0"
    assert suite[0][0].tag == "error"


def test_regress_weights_that_cannot_be_read_are_an_error(regress: Regress, variant: Path):
    (variant / "model.safetensors").write_bytes(b"12345678 not weights")
    outcome = regress(*in_place(variant), "--json")
    assert outcome.code == 3, outcome.err
    assert only_cell(outcome)["status"] == "error"


def test_regress_missing_baseline_is_exit_4_and_offers_to_make_it(
    regress: Regress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    outcome = regress(baselines=tmp_path / "none")
    assert outcome.code == 4
    assert f"{CELL}: there is no baseline" in outcome.out
    assert "to write the baselines" not in outcome.err
    monkeypatch.delenv("CI")
    assert "to write the baselines: acdc regress" in regress(baselines=tmp_path / "none").err
    assert not (tmp_path / "none").exists()


def test_regress_update_leaves_baselines_that_hold_untouched(regress: Regress, measured: Path):
    before = (measured / "baselines" / CELL).read_bytes()
    outcome = regress("--update-baseline", "--reason", "another", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.document["updated"] == []
    assert (measured / "baselines" / CELL).read_bytes() == before


def test_regress_sweep_without_a_circuit_compares_nothing_and_fails(
    regress: Regress, tmp_path: Path
):
    sweep = tmp_path / "small.yaml"
    sweep.write_text(json.dumps(SWEEP | {"methods": [{"name": "profile"}]}))
    outcome = regress("--json", sweep=sweep)
    assert outcome.code == 3, outcome.err
    assert outcome.document["cells"] == []
    assert CELL in outcome.document["unused"]


def test_regress_store_that_holds_the_runs_is_refused_unless_told(regress: Regress, tmp_path: Path):
    kept = regress("--store", tmp_path / "kept", "--json")
    assert kept.code == 0, kept.err
    assert kept.document["store"] == str(tmp_path / "kept")
    regress("--store", tmp_path / "kept").refuses("holds 1 of these 1 run already", "--cached")
    assert regress("--store", tmp_path / "kept", "--cached").code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--update-baseline",), "a new baseline needs a reason"),
        (("--update-baseline", "--reason", "  "), "a new baseline needs a reason"),
        (("--reason", "because"), "nothing is written"),
        (("--cached",), "needs a store"),
        (("--seeds", "4"), "at least 5"),
        (("--replace", "zoo:attn-2l"), "OLD=NEW"),
        (("--replace", "zoo:attn-4l=zoo:neox-4l"), "--replace: zoo:attn-4l is not in the sweep"),
        (("--replace", "zoo:attn-2l=zoo:attn-2l"), "is in the sweep itself"),
        (("--junit-xml", "nowhere/j.xml"), "its folder does not exist"),
        (("--markdown", "/"), "is a folder"),
        (("--junit-xml", "-", "--json"), "stdout is taken by --json"),
        (("--junit-xml", "one.txt", "--markdown", "one.txt"), "is the file of --junit-xml"),
        (("--baselines", __file__), "--baselines: is not a folder"),
        (
            ("--update-baseline", "--reason", "because", "--baselines", f"{__file__}/below"),
            "is not a folder",
        ),
    ],
)
def test_regress_options_that_do_not_fit_are_refused_before_anything_runs(
    regress: Regress, arguments: tuple[str, ...], said: str
):
    outcome = regress(*arguments)
    outcome.refuses(said)
    assert "to do" not in outcome.err


def test_regress_of_a_method_that_is_not_spread_is_refused_over_shards(
    regress: Regress, tmp_path: Path
):
    filtered = {"name": "eap-ig-inputs", "share": 0.1, "sign_filter": 40}
    (tmp_path / "sweep.yaml").write_text(json.dumps(SWEEP | {"methods": [filtered]}))
    laptop = (REPOSITORY / "workers" / "laptop.yaml").read_text()
    (tmp_path / "two.yaml").write_text(f"{laptop}shards: 2\n")
    outcome = regress("--profile", tmp_path / "two.yaml", sweep=tmp_path / "sweep.yaml")
    outcome.refuses("sign_filter: signs are filtered in one process, not over 2 shards")


def test_regress_says_what_it_found_where_a_document_cannot_be_written(regress: Regress):
    outcome = regress("--markdown", "/dev/full", "--json")
    assert outcome.code == 3
    assert outcome.document["counts"]["ok"] == 1
    assert "/dev/full: cannot be written" in outcome.err


def test_regress_names_a_file_whose_name_is_no_text(
    regress: Regress, measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shutil.copytree(measured / "baselines", tmp_path / "baselines")
    (tmp_path / "baselines" / "\udcff.json").touch()
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "step.md"))
    outcome = regress("--markdown", tmp_path / "m.md", "--json", baselines=tmp_path / "baselines")
    assert outcome.code == 0, outcome.err
    assert "\udcff.json" in outcome.document["unused"]
    assert "<code>?.json</code>" in (tmp_path / "m.md").read_text()
    assert (tmp_path / "m.md").read_text() == (tmp_path / "step.md").read_text()
