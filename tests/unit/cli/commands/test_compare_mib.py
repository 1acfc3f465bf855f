"""`acdc tasks mib` and `acdc compare --mib`: from a data set to a folder for the leaderboard."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from acdc_pipeline.engine import set_up
from acdc_pipeline.evaluation import FRACTIONS, measure_scale, measure_value
from acdc_pipeline.evaluation.curve import circuits_from_scores
from acdc_pipeline.evaluation.mib import mib_circuits
from acdc_pipeline.graph.mib import from_mib
from acdc_pipeline.models import load_model
from acdc_pipeline.prompts import make_prompts
from acdc_pipeline.prompts.make import export_pairs
from acdc_pipeline.specs import TaskSpec, circuit_method, find_task
from acdc_pipeline.store import open_store
from tests.command_line import acdc

MODEL = "zoo:attn-2l"
SHAPE = "attn-2l"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The zoo's task in the form of MIB's data set, each split in a file of another format."""
    tokenizer = load_model(MODEL, device="cpu").tokenizer
    assert tokenizer is not None
    rows = []
    for pair in export_pairs(find_task("ioi"), tokenizer, n=24, seed=0):
        (right,), (wrong,) = pair.correct, pair.incorrect
        people = {"indirect_object": str(right).strip(), "subject": str(wrong).strip()}
        people["random_c"] = people["subject"]
        other = {"prompt": pair.corrupted}
        rows.append({"prompt": pair.clean, "metadata": people, "s2_io_flip_counterfactual": other})
    folder = tmp_path / "data" / "ioi" / "data"
    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows[:12]), folder / "train-00000-of-00001.parquet")
    lines = "".join(json.dumps(row) + "\n" for row in rows[12:])
    (folder / "validation.jsonl").write_text(lines, encoding="utf-8")
    return tmp_path / "data"


def test_one_command_writes_what_the_leaderboard_reads_and_scores_it_on_the_split(
    capsys, store_url: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    made = acdc(capsys, "tasks", "mib", "ioi", MODEL, "--mib-data", data, "--prompts", "8")
    assert made.code == 0, made.err
    file = Path(f"mib-ioi_{SHAPE}.jsonl")
    assert len(file.read_text(encoding="utf-8").splitlines()) == 8
    asked = ("discover", file, MODEL, "--metric", "logit_diff")
    for more in (("--method", "eap"), ("--threshold", "0.5"), ("--threshold", "2")):
        assert acdc(capsys, *asked, *more).code == 0
    out = tmp_path / "submission"
    found = acdc(capsys, "compare", "--mib", out, "--mib-data", data, "--json")
    assert found.code == 0, found.err
    by_folder = {one["folder"]: one for one in found.document["searches"]}
    eap, search = (f"{name}_patching_edge/ioi_{SHAPE}" for name in ("eap", "acdc"))
    assert set(by_folder) == {eap, search}
    assert {one["leaderboard"] for one in by_folder.values()} == {False}

    # the file holds the scores, and the areas are those of its circuits on the other split
    (written,) = (out / eap).iterdir()
    assert written.name == "importances.json"
    scores = from_mib(json.loads(written.read_text())).scores
    model = load_model(MODEL, device="cpu")
    assert model.tokenizer is not None
    assert acdc(
        capsys, "tasks", "mib", "ioi", MODEL, "--mib-data", data, "--split", "validation",
        "--out", "held-out.jsonl",
    ).code == 0  # fmt: skip
    prompts = make_prompts(find_task("held-out.jsonl"), model.tokenizer, n=12, seed=0)
    bench = set_up(model.weights, prompts, "corrupted")
    scale = measure_scale(bench, "logit_diff")
    circuits = mib_circuits(bench.weights.topology, scores, "magnitude")
    values = [measure_value(bench, "logit_diff", c.edges) for c in circuits.values()]
    expected = list(map(scale.faithfulness, values))
    # float32, and another batch
    assert by_folder[eap]["faithfulness"] == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert by_folder[eap]["prompts"] == 12
    assert by_folder[eap]["split"] == "validation"

    # a search without scores is nine circuits, none above its percentage
    files = sorted((out / search).iterdir(), key=lambda path: float(path.stem))
    assert [float(path.stem) for path in files] == [100 * part for part in FRACTIONS[:-1]]
    for path, part in zip(files, FRACTIONS, strict=False):
        circuit = from_mib(json.loads(path.read_text()))
        assert len(circuit) <= part * circuit.topology.n_edges
    again = acdc(capsys, "compare", "--mib", out, "--mib-data", data)
    again.refuses("is not an empty folder", "name a new or an empty folder")
    shown = acdc(capsys, "compare", "--mib", tmp_path / "other", "--mib-data", data, "--head", "4")
    head = shown.out.splitlines()[0]
    assert head.index("CMD") < head.index("CPR")


def test_task_with_a_generator_is_measured_on_prompts_of_another_seed(
    capsys, store_url: str, tmp_path: Path
):
    for model in ("zoo:compiled-sum", MODEL):
        task = "ioi" if model == MODEL else "compiled_sum"
        assert acdc(capsys, "discover", task, model, "--prompts", "8", "--method", "eap").code == 0
    shown = acdc(capsys, "compare", "--mib", tmp_path / "out", "--json")
    assert shown.code == 3
    assert "'compiled_sum' has no prompts beside those that were searched" in shown.err
    found = [one for one in shown.document["searches"] if one["model"] == MODEL]
    assert [(one["split"], one["prompts"], one["problem"]) for one in found] == [("fresh", 8, None)]
    assert found[0]["cmd"] >= 0
    assert (tmp_path / "out" / found[0]["folder"] / "importances.json").is_file()


def test_a_search_with_a_rule_of_its_own_is_written_as_the_circuits_that_the_rule_cuts(
    capsys, store_url: str, tmp_path: Path
):
    asked = ("discover", "ioi", MODEL, "--prompts", "4", "--metric", "logit_diff")
    eap, acdc_run = (*asked, "--method", "eap"), (*asked, "--threshold", "0.5")
    rules = {
        "eap": eap,
        "eap-positive-share-1": (*eap, "--positive-share", "1"),
        "eap-sign-filter-40": (*eap, "--sign-filter", "40"),
        "acdc-consensus-3": (*acdc_run, "--consensus", "3"),
    }
    for rule in rules.values():
        assert acdc(capsys, *rule).code == 0
    found = acdc(capsys, "compare", "--mib", tmp_path / "out", "--head", "4", "--json")
    assert found.code == 0, found.err
    by_folder = {one["folder"]: one for one in found.document["searches"]}
    folders = {name: f"{name}_patching_edge/ioi_{SHAPE}" for name in rules}
    assert set(by_folder) == set(folders.values())
    assert [path.name for path in (tmp_path / "out" / folders.pop("eap")).iterdir()] == [
        "importances.json"
    ]
    for name, folder in folders.items():
        record = open_store(store_url).get(by_folder[folder]["run_id"])
        assert record.circuit is not None
        scores, topology = record.circuit.scores, record.circuit.topology
        selection = circuit_method(record.spec.method).selection
        cut = circuits_from_scores(topology, scores, selection)
        for part, edges in zip(FRACTIONS[:-1], by_folder[folder]["edges"], strict=False):
            file = tmp_path / "out" / folder / f"{100 * part:g}.json"
            written = from_mib(json.loads(file.read_text())).edges
            assert len(written) == edges <= part * topology.n_edges
            left_out = max((scores[e] for e in topology.edge_set - written), default=0)
            if name == "acdc-consensus-3":
                # searches that agreed as often are in or out together
                assert all(scores[e] > 0 for e in written)
                assert part < 0.5 or left_out == 0
            else:
                assert written == cut[part].edges
                assert name != "eap-sign-filter-40" or all(scores[e] for e in written)


def test_a_folder_that_is_there_is_refused_before_anything_is_read(capsys, tmp_path: Path):
    (tmp_path / "file").touch()
    refused = acdc(capsys, "compare", "--mib", tmp_path, "--store", tmp_path / "none")
    refused.refuses("is not an empty folder", "name a new or an empty folder")


def test_data_that_are_not_there_are_named_with_the_command_that_fetches_them(
    capsys, tmp_path: Path
):
    asked = ("tasks", "mib", "mcqa", MODEL)
    fetch = "hf download --repo-type dataset mib-bench/copycolors_mcqa --local-dir"
    acdc(capsys, *asked, "--mib-data", tmp_path).refuses(
        "has no split 'train' of MIB's task 'mcqa'", "4_answer_choices/", fetch
    )
    absent = ("--mib-data", tmp_path / "absent")
    for command in (asked, ("compare", "--mib", tmp_path / "x")):
        acdc(capsys, *command, *absent).refuses("absent", "--mib-data", "is not a folder")
    acdc(capsys, *asked, "--split", "dev").refuses("'dev' is no split", "train, validation, test")
    acdc(capsys, "tasks", "mib", "mqa", MODEL).refuses("'mqa'", "did you mean 'mcqa'?")
    acdc(capsys, *asked).refuses("neither in the cache of the hub", fetch)
    acdc(capsys, "compare", "--mib", tmp_path / "x", "--measure").refuses("--mib excludes")
    bogus = acdc(capsys, "compare", "--mib", tmp_path / "x", "--split", "bogus")
    bogus.refuses("'bogus' is no split of MIB", "train, validation, test")
    assert not (tmp_path / "x").exists()


def test_a_task_of_pairs_is_found_to_be_from_mib_by_its_name():
    from acdc_pipeline.workflows.mib import mib_task_of

    pairs = [("a b", "c d", "e", "f")]
    assert mib_task_of(TaskSpec.from_pairs(pairs, name="mib-arc-easy_llama3").name) == "arc-easy"
    assert [mib_task_of(name) for name in ("ioi", "mib-iois", "mib-ioi")] == [None, None, "ioi"]
