"""`acdc discover` and `acdc runs`, on a model compiled by hand whose circuit is known."""

from __future__ import annotations

import json
import os
from pathlib import Path

import networkx as nx
import pyarrow.parquet as pq
import pytest

from acdc_pipeline.specs import find_reference
from acdc_pipeline.store import open_store
from tests.command_line import Outcome, acdc
from tests.specs_text import write_task
from tests.unit.cli.commands.test_models import mamba

TARGET = ("compiled_or", "zoo:compiled-or")


def discovered(capsys, *more: str | Path) -> Outcome:
    return acdc(capsys, "discover", *TARGET, *more, "--json")


def committed_runs(store_url: str) -> list[str]:
    return open_store(store_url).run_ids()


@pytest.fixture
def run_id(capsys, tmp_path, monkeypatch) -> str:
    """A run in the test's store, and an empty working directory."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return discovered(capsys).document["run_id"]


def test_discover_json_is_one_document_with_ids_counts_and_metrics(capsys, store_url):
    found = discovered(capsys)
    assert found.code == 0
    document = found.document
    assert document["edges_total"] == 23
    assert document["edges_kept"] == 4
    assert document["metrics"]["accuracy"] == 1.0
    assert document["metrics"]["kl"] < 1e-3
    assert document["cached"] is False
    assert committed_runs(store_url) == [document["run_id"]]
    assert Path(document["path"], "_COMMIT.json").is_file()


def test_discover_again_answers_from_the_store_with_the_same_document(capsys):
    first, second = discovered(capsys).document, discovered(capsys).document
    assert second.pop("cached") is True
    assert first.pop("cached") is False
    assert second == first


@pytest.mark.parametrize(
    "more", [("--seed", "1"), ("--threshold", "0.02"), ("--prompts", "32"), ("--dtype", "float64")]
)
def test_discover_with_another_parameter_is_another_run(capsys, more: tuple[str, str]):
    assert discovered(capsys).document["run_id"] != discovered(capsys, *more).document["run_id"]


def test_discover_with_another_device_is_the_same_run(capsys):
    first = discovered(capsys, "--device", "cpu", "--memory", "64MiB").document
    assert discovered(capsys, "--device", "auto").document["run_id"] == first["run_id"]


def test_discover_random_keeps_as_many_edges_as_asked_for_and_is_a_run_of_its_own(capsys):
    searched = discovered(capsys).document
    drawn = discovered(capsys, "--method", "random", "--edges", "9").document
    assert drawn["run_id"] != searched["run_id"]
    assert drawn["method"]["name"] == "random"
    assert 0 < drawn["edges_kept"] <= 9
    assert drawn["details"]["edges_on_a_path"] == drawn["edges_kept"]
    shown = acdc(capsys, "runs", "show", drawn["run_id"]).out
    assert "random, 9 edges, kl, corrupted ablation" in shown
    assert "Edges by score (drawn at random)" in shown
    listed = acdc(capsys, "runs", "list").out
    assert "random 9 edges" in listed
    assert "acdc 0.01" in listed


def test_discover_by_an_alias_stores_the_method_and_says_its_name_once(capsys):
    size = ("--edges", "3", "--metric", "nll", "--method")
    said = acdc(capsys, "discover", *TARGET, *size, "eap-ig")
    assert said.code == 0
    assert said.err.count("note: method 'eap-ig' is 'eap-ig-inputs'") == 1
    silent = discovered(capsys, *size, "eap-ig")
    assert "eap-ig-inputs" not in silent.err
    assert silent.document["method"]["name"] == "eap-ig-inputs"
    assert silent.document["cached"]


def test_discover_of_more_edges_than_the_graph_has_is_refused(capsys, store_url):
    acdc(capsys, "discover", *TARGET, "--method", "random", "--edges", "24").refuses(
        "edges: 24 is more than the graph of zoo:compiled-or has", "1 to 23"
    )
    assert committed_runs(store_url) == []


def test_discover_tells_people_what_was_found_and_what_to_do_next(capsys):
    found = acdc(capsys, "discover", *TARGET)
    assert found.code == 0
    for part in ("4 of 23 (17.4%)", "100.0% (whole model 100.0%)", "acdc runs show "):
        assert part in found.out
    assert "was there already" in acdc(capsys, "discover", *TARGET).out


def test_discover_stores_where_it_is_told(capsys, tmp_path, store_url):
    document = discovered(capsys, "--store", tmp_path / "other").document
    assert committed_runs(str(tmp_path / "other")) == [document["run_id"]]
    assert committed_runs(store_url) == []


def test_discover_takes_the_store_of_acdc_yaml_after_option_and_environment(
    capsys, tmp_path, monkeypatch, store_url
):
    project = tmp_path / "project"
    (project / "below").mkdir(parents=True)
    (project / "acdc.yaml").write_text("store: kept\ndevice: cpu\n")
    monkeypatch.chdir(project / "below")
    assert discovered(capsys).document["store"] == store_url
    monkeypatch.delenv("ACDC_STORE")
    assert discovered(capsys).document["store"] == str(project / "kept")
    assert discovered(capsys, "--store", "mine").document["store"] == str(Path("mine").resolve())


def test_acdc_yaml_with_an_unknown_key_is_refused(capsys, tmp_path, monkeypatch):
    (tmp_path / "acdc.yaml").write_text("stroe: kept\n")
    monkeypatch.chdir(tmp_path)
    discovered(capsys).refuses("acdc.yaml: stroe: unknown key", "did you mean 'store'?")


def test_discover_of_prompt_pairs_without_a_task(capsys, tmp_path):
    pairs = tmp_path / "mine.jsonl"
    reference = find_reference("compiled_or")
    assert reference is not None
    shown = acdc(capsys, "tasks", "show", *("compiled_or", "--model", TARGET[1], "--json")).document
    with pairs.open("w") as file:
        for pair in shown["prompts"]:
            clean, corrupted = (f"<bos> {pair[side]}" for side in ("clean", "corrupted"))
            line = {"clean": clean, "corrupted": corrupted, "correct": pair["correct"]}
            file.write(json.dumps(line) + "\n")
    found = acdc(capsys, "discover", pairs, TARGET[1], "--json")
    assert found.code == 0, found.err
    assert found.document["task"] == "mine"


def pairs_file(folder: Path, *sides: tuple[str, str]) -> Path:
    """Prompt pairs for the compiled model that answers `c` where a `c` or a `d` was."""
    path = folder / "mine.jsonl"
    lines = [
        json.dumps({"clean": clean, "corrupted": corrupted, "correct": "c"})
        for clean, corrupted in sides
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


ONE_PAIR = (". c + =", ". + + =")


def test_discover_of_few_pairs_is_one_run_however_many_are_asked_for(capsys, tmp_path):
    pairs = pairs_file(tmp_path, ONE_PAIR)
    found = acdc(capsys, "discover", pairs, TARGET[1], "--json")
    assert found.code == 0, found.err
    assert found.document["prompts"] == 1
    assert "note: task" not in found.err
    more = acdc(capsys, "discover", pairs, TARGET[1], "--prompts", "9", "--json")
    assert more.document["run_id"] == found.document["run_id"]
    assert "note: task 'mine' has 1 prompt pair, fewer than requested; all are used\n" in more.err
    one = acdc(capsys, "discover", pairs, TARGET[1], "--prompts", "1", "--json")
    assert (one.document["cached"], "note: task" in one.err) == (True, False)


def test_discover_of_pairs_with_equal_sides_says_how_many(capsys, tmp_path):
    pairs = pairs_file(tmp_path, ONE_PAIR, (". c + =", ". c + ="))
    found = acdc(capsys, "discover", pairs, TARGET[1], "--json")
    assert found.code == 0, found.err
    (doubt, *_) = found.document["details"]["warnings"]
    assert doubt.startswith("clean and corrupted side are equal in 1 of 2 pairs")
    assert f"note: {doubt}\n" in found.err


def test_discover_of_pairs_whose_sides_are_all_equal_is_refused(capsys, tmp_path, store_url):
    pairs = pairs_file(tmp_path, (". c + =", ". c + ="))
    acdc(capsys, "discover", pairs, TARGET[1]).refuses(
        "task 'mine': the clean and the corrupted side are equal in every pair", "fix: "
    )
    assert committed_runs(store_url) == []


def test_discover_of_what_the_model_cannot_do_says_so(capsys, tmp_path):
    found = acdc(capsys, "discover", "induction", TARGET[1], "--threshold", "100", "--prompts", "8")
    assert found.code == 0, found.err
    assert "note: the whole model puts a correct answer above every incorrect one" in found.err
    assert "(its first token is right in 0.0%)" in found.err
    assert "note: the circuit is empty: at threshold 100" in found.err
    assert "Draw it" not in found.out
    assert "Measure it: acdc evaluate" in found.out


def test_discover_in_the_model_of_the_published_circuit_says_how_much_was_found(capsys):
    assert (
        "4 of 7 edges of the known circuit found, 0 others" in acdc(capsys, "discover", *TARGET).out
    )
    found = discovered(capsys).document["details"]["reference"]
    assert (found["precision"], found["recall"]) == (1.0, 4 / 7)
    reference = find_reference("compiled_or")
    assert reference is not None
    assert set(found["missing"]) < set(reference.edges)
    assert len(found["missing"]) == 3


BAD = [
    (("nothing", TARGET[1]), ("unknown task 'nothing'", "acdc tasks list")),
    (("compiled_ro", TARGET[1]), ("unknown task", "did you mean 'compiled_or'?")),
    (("none.jsonl", TARGET[1]), ("none.jsonl: no such file",)),
    ((TARGET[0], "zoo:compiled-ro"), ("unknown zoo model", "did you mean 'compiled-or'?")),
    ((TARGET[0], "compiled-or"), ("is not a model reference", "did you mean 'zoo:compiled-or'?")),
    ((TARGET[0], "dir:nowhere"), ("nowhere",)),
    (
        (*TARGET, "--method", "adcd"),
        ("discover: --method: unknown method 'adcd'; did you mean 'acdc'?", "did you mean 'acdc'?"),
    ),
    ((*TARGET, "--share", "0.1"), ("--share: method 'acdc' has no such parameter", "random")),
    ((*TARGET, "--method", "random", "--threshold", "1"), ("--threshold: method 'random'",)),
    ((*TARGET, "--method", "random", "--share", "2"), ("--share: 2.0 is not at most 1",)),
    (
        (*TARGET, "--method", "random", "--share", "0.1", "--edges", "3"),
        ("--edges: cannot go with a share",),
    ),
    (
        (*TARGET, "--metric", "kll"),
        ("discover: --metric: unknown metric 'kll'; did you mean 'kl'?", "did you mean 'kl'?"),
    ),
    (
        (*TARGET, "--ablation", "zeros"),
        ("--ablation: unknown ablation 'zeros'", "did you mean 'zero'?"),
    ),
    ((*TARGET, "--order", "forward"), ("--order: unknown head order 'forward'", "natural")),
    (
        (*TARGET, "--difference", "sined"),
        ("--difference: unknown difference 'sined'", "did you mean 'signed'?"),
    ),
    ((*TARGET, "--threshold", "-0.1"), ("--threshold: -0.1", "greater than 0")),
    ((*TARGET, "--threshold", "0"), ("--threshold: 0.0", "greater than 0")),
    ((*TARGET, "--threshold", "nan"), ("--threshold: nan", "a finite number")),
    ((*TARGET, "--dtype", "float31"), ("float31", "float32")),
    ((*TARGET, "--memory", "1KB"), ("--memory: 1KB is too small", "at least 1KiB")),
    ((*TARGET, "--memory", "much"), ("--memory: 'much' is not an amount of memory",)),
    ((*TARGET, "--device", "gpu"), ("unknown device 'gpu'", "auto, cpu, cuda")),
]


@pytest.mark.parametrize(("arguments", "parts"), BAD, ids=" ".join)
def test_discover_with_bad_input_says_one_thing_and_writes_nothing(
    capsys, store_url, arguments: tuple[str, ...], parts: tuple[str, ...]
):
    acdc(capsys, "discover", *arguments).refuses(*parts)
    assert not Path(store_url).exists()


def test_discover_with_a_misspelt_key_in_the_task_writes_nothing(capsys, tmp_path, store_url):
    path = write_task(tmp_path, "corrupted:", "corupted:")
    acdc(capsys, "discover", path, TARGET[1]).refuses(
        "task.yaml: generator.corupted: unknown key", "did you mean 'corrupted'?"
    )
    assert not Path(store_url).exists()


@pytest.mark.parametrize(
    ("pair", "parts"),
    [
        (
            {"clean": ". c + =", "corrupted": ". c =", "correct": "c"},
            (".jsonl:1: the sides differ in length: clean 4 tokens", "corrupted 3"),
        ),
        (
            {"clean": ". c + =", "corrupted": ". + + =", "correct": "c d"},
            (".jsonl:1: correct: 'c d' is 2 tokens", "one token"),
        ),
        (
            {"clean": ". c + =", "corrupted": ". + + =", "correct": "never"},
            (".jsonl:1: correct: 'never'", "vocabulary"),
        ),
    ],
)
def test_discover_of_pairs_that_do_not_fit_the_tokenizer_names_pair_and_tokens(
    capsys, tmp_path, store_url, pair: dict[str, str], parts: tuple[str, ...]
):
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps(pair) + "\n")
    acdc(capsys, "discover", path, TARGET[1]).refuses("pairs.jsonl", *parts)
    assert committed_runs(store_url) == []


def test_discover_in_an_unsupported_architecture_is_refused(capsys, tmp_path, store_url):
    acdc(capsys, "discover", "compiled_or", f"dir:{mamba(tmp_path / 'mamba')}").refuses(
        "MambaForCausalLM", "no attention heads"
    )
    assert not Path(store_url).exists()


def test_discover_into_a_store_that_cannot_be_written_is_refused_before_the_search(
    capsys, tmp_path
):
    (tmp_path / "file").write_text("x")
    found = acdc(capsys, "discover", *TARGET, "--store", tmp_path / "file" / "store")
    found.refuses("a part of the path is a file", "choose another store")
    assert "searching" not in found.err
    acdc(capsys, "discover", *TARGET, "--store", tmp_path / "file").refuses("is a file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_discover_answers_from_a_store_that_cannot_be_written(capsys, run_id, monkeypatch):
    def forbid(*_: object) -> None:
        raise AssertionError("a stored run needs no write")

    monkeypatch.setattr("acdc_pipeline.store.store.Store.check_writable", forbid)
    assert discovered(capsys).document["run_id"] == run_id


def test_runs_list_shows_every_run_and_filters(capsys, run_id):
    other = discovered(capsys, "--seed", "1").document["run_id"]
    listed = acdc(capsys, "runs", "list")
    assert listed.code == 0
    assert run_id[:8] in listed.out
    assert other[:8] in listed.out
    runs = acdc(capsys, "runs", "list", "--json").document["runs"]
    assert {run["run_id"] for run in runs} == {run_id, other}
    assert acdc(capsys, "runs", "list", "--task", "ioi", "--json").document["runs"] == []
    assert "none of 2 runs in" in acdc(capsys, "runs", "list", "--model", "zoo:x").err


def test_runs_show_draws_the_circuit_and_says_where(capsys, run_id):
    drawing = Path("circuit.svg")
    shown = acdc(capsys, "runs", "show", run_id[:6], "--svg", drawing)
    assert shown.code == 0
    assert str(drawing) in shown.out
    assert drawing.read_text().startswith("<svg")
    assert [path.name for path in Path().iterdir()] == [drawing.name]
    reference = find_reference("compiled_or")
    assert reference is not None
    document = acdc(capsys, "runs", "show", run_id, "--svg", "x.svg", "--json").document
    # one of the two redundant paths: taken alone, each can be cut without a loss
    assert set(document["edges"]) < set(reference.edges)
    assert Path(document["drawing"]).is_file()


def test_runs_show_cannot_draw_where_it_must_not_write(capsys, run_id):
    Path("file").touch()
    acdc(capsys, "runs", "show", run_id, "--svg", "file/x.svg").refuses("file/x.svg", "written")
    acdc(capsys, "runs", "show", run_id, "--svg", "none/x.svg").refuses("fix: mkdir -p none")


def test_runs_export_gives_every_format(capsys, run_id):
    exports = {
        form: acdc(capsys, "runs", "export", run_id, "--format", form).out
        for form in ("node-link", "graphml", "dot", "mib-json")
    }
    graph = nx.node_link_graph(json.loads(exports["node-link"]), edges="edges")
    assert graph.number_of_edges() == 4
    assert json.loads(exports["mib-json"])["cfg"]["d_model"] == 100
    assert exports["graphml"].startswith("<")
    assert exports["dot"].startswith("digraph")
    acdc(capsys, "runs", "export", run_id, "--format", "parquet", "--out", "e.parquet")
    assert sum(pq.read_table("e.parquet")["present"].to_pylist()) == 4


def folder_of(store_url: str, run_id: str) -> Path:
    return Path(store_url, "runs", run_id)


def test_truncated_parquet_file_is_named_and_never_data(capsys, store_url, run_id):
    edges = folder_of(store_url, run_id) / "edges.parquet"
    os.truncate(edges, edges.stat().st_size // 2)
    for command in ("show", "export"):
        acdc(capsys, "runs", command, run_id).refuses(run_id, "edges.parquet", "run it again")
    listed = acdc(capsys, "runs", "list", "--json")
    assert (listed.code, listed.document["runs"]) == (0, [])
    assert [run["run_id"] for run in listed.document["damaged"]] == [run_id]
    assert f"acdc: warning: run {run_id}" in listed.err


def test_damaged_run_is_replaced_by_running_it_again(capsys, store_url, run_id):
    (folder_of(store_url, run_id) / "run.json").write_text("{}")
    again = discovered(capsys).document
    assert (again["run_id"], again["cached"]) == (run_id, False)
    assert acdc(capsys, "runs", "show", run_id, "--json").document["edges_kept"] == 4


def test_run_without_commit_marker_does_not_exist(capsys, store_url, run_id):
    (folder_of(store_url, run_id) / "_COMMIT.json").unlink()
    acdc(capsys, "runs", "show", run_id).refuses("no commit marker: it was never finished")
    assert acdc(capsys, "runs", "list", "--json").document["runs"] == []
    assert discovered(capsys).document["cached"] is False
