"""`acdc evaluate` on models whose circuit is known."""

from __future__ import annotations

import itertools
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from acdc_pipeline.models.zoo import compiled
from acdc_pipeline.store import open_store
from tests import records
from tests.command_line import acdc
from tests.support import REPOSITORY

FEW = ("--null", "3", "--draws", "1", "--restarts", "1")


def truth_text(name: str) -> str:
    return ",".join(str(edge) for edge in compiled.true_circuit(name).sorted_edges)


def test_evaluate_true_edges_is_faithful_complete_minimal_and_survives_scrubbing(
    capsys, tmp_path: Path
):
    picture = tmp_path / "curve.svg"
    outcome = acdc(
        capsys,
        *("evaluate", "compiled_sum", "zoo:compiled-sum", "--edges", truth_text("compiled-sum")),
        *("--prompts", "16", *FEW, "--svg", str(picture), "--json"),
    )
    assert outcome.code == 0, outcome.err
    found = outcome.document
    assert (found["edges_kept"], found["edges_total"]) == (5, 23)
    assert found["faithfulness"] == pytest.approx(1, abs=1e-4)
    assert found["kl"] == pytest.approx(0, abs=1e-4)
    assert found["causal_scrubbing"]["recovered"] >= 0.99
    assert max(k["incompleteness"] for k in found["completeness"]) < 1e-3
    (worst,) = found["worst_knockouts"]
    assert worst["incompleteness"] < 1e-3
    assert min(need["score"] for need in found["minimality"]) > 0.3
    assert found["auc"] is None or found["auc"] == 1
    # no search found it: nothing to cut by, and nothing to repeat
    assert (found["curve"], found["cpr"], found["stability"]) == (None, None, None)
    assert len(found["null"]["faithfulness"]) == 3
    root = ET.fromstring(picture.read_text())
    circles = [e for e in root.iter() if e.tag.endswith("circle")]
    assert [circle.get("class") for circle in circles] == ["null"] * 3 + ["run"]


def test_evaluate_run_with_scores_draws_its_curve_and_repeats_its_search(capsys, store_url: str):
    found = acdc(
        capsys,
        *("discover", "compiled_sum", "zoo:compiled-sum", "--method", "exact", "--edges", "5"),
        *("--prompts", "16", "--json"),
    ).document
    assert found["details"]["faithfulness"] == pytest.approx(1, abs=1e-4)
    outcome = acdc(capsys, "evaluate", found["run_id"][:8], *FEW, "--resamples", "2", "--json")
    assert outcome.code == 0, outcome.err
    document = outcome.document
    curve = document["curve"]
    # of 23 edges, 0.2 allows four, which do not suffice, and 0.5 allows eleven
    found_at = [p for p in curve if p["edges"] is not None]
    assert {p["fraction"] for p in found_at} >= {0.5, 1.0}
    assert all(p["edges"] <= p["fraction"] * 23 for p in found_at)
    # no path fits into less than one edge: nothing was measured there, and no 0 says that it was
    unmeasured = dict.fromkeys(("edges", "value", "faithfulness", "kl", "interval"))
    assert curve[0] == {"fraction": 0.001, **unmeasured}
    assert curve[-2]["faithfulness"] == pytest.approx(1, abs=1e-4)
    areas = [
        (b["fraction"] - a["fraction"]) * ((a["faithfulness"] or 0) + (b["faithfulness"] or 0)) / 2
        for a, b in itertools.pairwise(curve)
    ]
    assert document["cpr"] == pytest.approx(sum(areas))
    # the program has one circuit, whatever the prompts
    assert document["stability"]["jaccard"] == 1
    assert document["transfer"]["unseen"] == pytest.approx(1, abs=1e-3)
    facts = acdc(capsys, "evaluate", found["run_id"][:8], *FEW, "--resamples", "0")
    assert parts_said(outcome.err) == [
        ["faithfulness", "part 1 of 10"],
        ["curve", "part 2 of 10"],
        ["null", "part 3 of 10"],
        ["ablations", "part 4 of 10"],
        ["completeness", "part 5 of 10"],
        ["worst knockouts", "part 6 of 10"],
        ["minimality", "part 7 of 10"],
        ["causal scrubbing", "part 8 of 10"],
        ["stability", "part 9 of 10"],
        ["transfer", "part 10 of 10"],
    ]
    # all the others were measured with the same seed and amounts a moment ago
    assert parts_said(facts.err) == [["faithfulness", "part 1 of 1"]]
    *_, whole = facts.out.splitlines()
    # what rounding leaves of the divergence of the model from itself is not shown
    assert whole.split() == ["100%", "23", "1.00", "1.00", "to", "1.00", "0"]
    assert facts.out.index("CMD") < facts.out.index("CPR")
    assert "causal scrubbing" in facts.out
    assert "from 1 start" in facts.out


def parts_said(err: str) -> list[list[str]]:
    """The lines of progress that name a part."""
    return [line.split(": ")[1:] for line in err.splitlines() if ": part " in line]


def discovered(capsys) -> str:
    """The id of a run that found the true circuit of `compiled_sum`."""
    asked = ("discover", "compiled_sum", "zoo:compiled-sum", "--prompts", "8", "--json")
    return acdc(capsys, *asked).document["run_id"]


def test_evaluate_by_default_measures_what_takes_one_forward_a_circuit(capsys, store_url: str):
    run = discovered(capsys)
    document = acdc(capsys, "evaluate", run[:8], "--json").document
    # in the metric of the search and in that of the task, with the model's own values beside
    assert (document["metric"], document["task_metric"]) == ("kl", "logit_diff")
    for name in ("kl", "logit_diff"):
        assert document["metrics"][name]["faithfulness"] == pytest.approx(1, abs=1e-4)
        assert document["null"]["metrics"][name]["percentile"] > 0.9
        assert len(document["null"]["metrics"][name]["faithfulness"]) == 50
    for name in ("accuracy", "forced_choice"):
        measured = document["metrics"][name]
        assert (measured["circuit"], measured["model"], measured["faithfulness"]) == (1, 1, None)
    assert document["null"]["drawn"] == 50
    assert document["curve"] is not None
    rest = ("completeness", "worst_knockouts", "minimality", "causal_scrubbing", "fresh_prompts")
    assert {document[name] for name in (*rest, "stability", "transfer", "not_scrubbed")} == {None}
    assert list(document["ablations"]) == ["corrupted", "zero", "mean"]
    out = acdc(capsys, "evaluate", run[:8]).out
    assert "in kl, 1.00 (1.00 to 1.00) in logit_diff" in out
    (corrupted,) = (line.split() for line in out.splitlines() if line.startswith("corrupted "))
    assert corrupted[:4] == ["corrupted", "1.00", "(1.00", "to"]
    assert "forced choice  100.0% (model 100.0%" in out
    for word in ("completeness", "minimality", "scrubbing", "stability", "transfer"):
        assert word not in out


def test_evaluate_full_measures_every_part_and_says_which(capsys, store_url: str):
    run = discovered(capsys)
    few = ("--null", "2", "--draws", "1", "--restarts", "1", "--resamples", "2")
    outcome = acdc(capsys, "evaluate", run[:8], "--full", *few, "--json")
    document = outcome.document
    for name in ("curve", "null", "completeness", "worst_knockouts", "minimality"):
        assert document[name], name
    for name in ("causal_scrubbing", "stability", "transfer"):
        assert document[name] is not None, name
    # a file of pairs has no other prompts
    assert document["fresh_prompts"] is None
    assert ": transfer: part 11 of 11" in outcome.err
    assert ": stability: 50% done" not in outcome.err  # no five seconds have gone by


def test_evaluate_under_each_ablation_says_what_separate_evaluations_say(capsys):
    given = ("compiled_sum", "zoo:compiled-sum", "--edges", truth_text("compiled-sum"))
    more = ("--prompts", "6", "--null", "0", "--ablations", "all", "--adversarial", "8", "--json")
    found = {
        name: acdc(capsys, "evaluate", *given, "--ablation", name, *more).document
        for name in ("corrupted", "zero", "mean")
    }
    for one in found.values():
        assert list(one["ablations"]) == [*found, "resample", "adversarial"]
        for name, other in found.items():
            assert one["ablations"][name]["metrics"] == other["metrics"]
        donors = one["ablations"]["adversarial"]["donors"]
        # every prompt names a donor for each of the sources
        assert {sum(n for _, n in of_prompt) for of_prompt in donors} == {6}
    acdc(capsys, "evaluate", *given, "--ablations", "median").refuses("--ablations: ", "'mean'")


def test_evaluate_option_with_an_amount_switches_on_its_part_alone(capsys, store_url: str):
    run = discovered(capsys)
    document = acdc(
        capsys, "evaluate", run[:8], "--restarts", "1", "--null", "0", "--json"
    ).document
    assert len(document["worst_knockouts"]) == 1
    assert (document["null"], document["completeness"], document["stability"]) == (None,) * 3


def test_evaluate_again_answers_from_the_store_and_another_seed_does_not(capsys, store_url: str):
    run = discovered(capsys)
    asked = ("evaluate", run[:8], "--null", "3", "--json")
    first, again = (acdc(capsys, *asked).document for _ in range(2))
    assert (first.pop("cached"), again.pop("cached")) == (False, True)
    assert first == again
    assert "was there already" in acdc(capsys, *asked[:-1]).out
    assert not acdc(capsys, *asked, "--seed", "1").document["cached"]
    # more runs of the same search make another curve
    more = ("discover", "compiled_sum", "zoo:compiled-sum", "--prompts", "8", "--threshold", "100")
    assert acdc(capsys, *more).code == 0
    assert not acdc(capsys, *asked).document["cached"]


def test_evaluate_of_a_circuit_without_a_run_is_not_stored(capsys, store_url: str):
    given = ("evaluate", "compiled_sum", "zoo:compiled-sum", "--edges", truth_text("compiled-sum"))
    document = acdc(capsys, *given, "--prompts", "8", "--null", "2", "--json").document
    assert not document["cached"]
    assert not Path(store_url).exists()


def test_evaluate_in_a_store_that_keeps_nothing_shows_what_it_measured_and_says_so(
    capsys, store_url: str
):
    run = discovered(capsys)
    (Path(store_url) / "evaluations").write_text("a file in the way")
    outcome = acdc(capsys, "evaluate", run[:8], "--null", "2")
    assert outcome.code == 0
    assert "in kl, 1.00 (1.00 to 1.00) in logit_diff" in outcome.out
    assert "acdc: warning: not stored: " in outcome.err
    assert "/evaluations)" in outcome.err


def test_evaluate_damaged_evaluation_is_named_and_measured_again(capsys, store_url: str):
    run = discovered(capsys)
    asked = ("evaluate", run[:8], "--null", "2", "--json")
    first = acdc(capsys, *asked).document
    (path,) = (Path(store_url) / "evaluations" / run).iterdir()
    path.write_bytes(path.read_bytes()[:100])
    for command in (("runs", "list"), ("runs", "show", run[:8])):
        outcome = acdc(capsys, *command)
        assert outcome.code == 0
        assert f"run {run}: evaluations/{path.name}: not an evaluation" in outcome.err
        assert "above null" not in outcome.out
    again = acdc(capsys, *asked)
    assert f"evaluations/{path.name}" in again.err
    assert again.document == first
    assert acdc(capsys, *asked).document["cached"]


def test_runs_list_show_and_compare_show_what_was_measured_and_a_dash_for_what_was_not(
    capsys, store_url: str
):
    run = discovered(capsys)
    other = acdc(
        capsys,
        *("discover", "compiled_sum", "zoo:compiled-sum", "--prompts", "8", "--json"),
        *("--method", "random", "--edges", "5"),
    ).document["run_id"]
    assert "above null" not in acdc(capsys, "runs", "list").out
    shown = acdc(capsys, "runs", "show", run[:8]).out
    assert f"evaluation     – (acdc evaluate {run[:8]}" in shown
    acdc(capsys, "evaluate", run[:8], "--null", "4")
    acdc(capsys, "evaluate", run[:8], "--null", "0", "--resamples", "2")

    head, _, *rows = acdc(capsys, "runs", "list").out.splitlines()
    start, end = head.index("above null"), head.index("seconds")
    cells = {row[:8]: row[start:end].split() for row in rows}
    assert cells[run[:8]][0] == "100.0%"
    # the stability of the second evaluation stands beside the null of the first
    assert cells[run[:8]][-1] == "1.00"
    assert cells[other[:8]] == ["–", "–", "–", "–"]

    documents = {
        one["run_id"]: one for one in acdc(capsys, "runs", "list", "--json").document["runs"]
    }
    assert documents[other]["evaluation"] is None
    figures = documents[run]["evaluation"]
    assert (figures["null"]["drawn"], figures["stability"]["jaccard"]) == (4, 1)
    assert figures["completeness"] is None
    assert len(figures["evaluations"]) == 2

    shown = acdc(capsys, "runs", "show", run[:8])
    assert "of 4 random circuits" in shown.out
    assert "over 2 resamples of the prompts: stable" in shown.out
    document = acdc(capsys, "runs", "show", run[:8], "--json").document
    assert document["evaluation"] == figures

    both = acdc(capsys, "runs", "compare", run[:8], other[:8])
    assert "above null" in both.out
    sides = acdc(capsys, "runs", "compare", run[:8], other[:8], "--json").document["runs"]
    assert [side["evaluation"] for side in sides] == [figures, None]

    searches = acdc(capsys, "compare", "--json").document["searches"]
    assert [one["evaluation"] for one in searches] == [figures, None]
    acdc_row, random_row = acdc(capsys, "compare").out.splitlines()[2:]
    assert acdc_row.split()[-2:] == ["100.0%", "1.00"]
    assert random_row.split()[-2:] == ["–", "–"]


def test_evaluate_curve_shows_a_dash_where_no_circuit_is_that_small(capsys, store_url: str):
    run = discovered(capsys)
    rows = [
        line.split() for line in acdc(capsys, "evaluate", run[:8], "--null", "0").out.splitlines()
    ]
    # five edges of 23 are more than 20 %, and fewer than 50 %
    assert ["20%", "–", "–", "–", "–"] in rows
    assert ["50%", "5", "1.00"] in [row[:3] for row in rows]


def test_evaluate_reads_edges_from_what_export_wrote_and_from_lines(
    capsys, store_url: str, tmp_path: Path
):
    run = acdc(
        capsys,
        *("discover", "compiled_sum", "zoo:compiled-sum", "--prompts", "8", "--json"),
    ).document["run_id"]
    graph, lines = tmp_path / "c.json", tmp_path / "c.txt"
    assert acdc(capsys, "runs", "export", run[:8], "--out", str(graph)).code == 0
    names = truth_text("compiled-sum").split(",")
    lines.write_text("# by construction\n" + "\n".join(names) + "\n\n")
    found = [
        acdc(
            capsys,
            *("evaluate", "compiled_sum", "zoo:compiled-sum", "--edges", str(path)),
            *("--prompts", "8", "--null", "0", "--draws", "0", "--json"),
        ).document
        for path in (graph, lines)
    ]
    assert found[0]["edges_kept"] == found[1]["edges_kept"] == 5
    assert found[0]["faithfulness"] == found[1]["faithfulness"]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("ioi", "zoo:attn-2l"), ("--edges: no circuit is given", "acdc evaluate RUN")),
        (("ioi",), ("'ioi' is a task", "acdc evaluate ioi MODEL --edges FILE")),
        (("pairs.jsonl",), ("'pairs.jsonl' is a task", "acdc evaluate RUN --task pairs.jsonl")),
        (("ioi", "zoo:attn-2l", "--edges", "a", "--task", "ioi"), ("--task: the task is 'ioi'",)),
        (("abc", "--metric", "kl"), ("--metric: a stored run has its own",)),
        (("ioi", "zoo:attn-2l", "--edges", "none.txt"), ("none.txt: --edges: cannot be read",)),
        (("ioi", "zoo:attn-2l", "--edges", "a9.h0->logits"), ("'a9.h0->logits'", "allowed")),
    ],
)
def test_evaluate_of_what_is_no_circuit_is_refused(
    capsys, store_url: str, arguments: tuple[str, ...], parts: tuple[str, ...]
):
    acdc(capsys, "evaluate", *arguments).refuses(*parts)


def test_evaluate_run_of_a_changed_task_is_refused(capsys, store_url: str):
    record = records.record()
    open_store(store_url).commit(record)
    acdc(capsys, "evaluate", record.spec.run_id()[:8]).refuses("has changed since this run")


def test_evaluate_and_compare_find_the_file_of_a_run_again(
    capsys, tmp_path: Path, store_url: str, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "a").mkdir()
    shutil.copy(REPOSITORY / "tasks/compiled_or/pairs.jsonl", tmp_path / "a/toy.jsonl")
    asked = ("zoo:compiled-or", "--method", "random", "--prompts", "2")
    monkeypatch.chdir(tmp_path)
    found = acdc(capsys, "discover", "a/toy.jsonl", *asked)
    (hint,) = [line for line in found.out.splitlines() if line.startswith("Measure it:")]
    assert hint.endswith("--task a/toy.jsonl")
    run = hint.split()[4]
    acdc(capsys, "evaluate", run).refuses("'toy' is neither a known task", "--task toy.jsonl")
    failed = acdc(capsys, "compare", "--measure")
    assert failed.code == 3
    assert "'toy' is neither a known task" in failed.err
    given = acdc(capsys, "evaluate", run, "--task", "a/toy.jsonl", "--null", "0")
    assert given.code == 0, given.err
    monkeypatch.chdir(tmp_path / "a")
    assert acdc(capsys, "evaluate", run, "--null", "0", "--json").document["cached"]
    assert acdc(capsys, "compare").code == 0
    again = acdc(capsys, "discover", "toy.jsonl", *asked)
    assert "--task" not in again.out


def test_run_of_before_forced_choice_was_measured_shows_a_dash_and_no_zero(capsys, store_url: str):
    record = records.record()
    assert "forced_choice" not in record.metrics
    open_store(store_url).commit(record)
    head, _, row = acdc(capsys, "runs", "list").out.splitlines()
    columns = {
        name: row[head.index(name) : head.index(name) + len(name)].strip()
        for name in ("accuracy", "forced choice", "faithfulness")
    }
    assert columns == {"accuracy": "96.9%", "forced choice": "–", "faithfulness": "–"}
    shown = acdc(capsys, "runs", "show", record.spec.run_id()[:8]).out
    lines = dict(line.split(maxsplit=1) for line in shown.splitlines()[:12] if line.strip())
    assert lines["forced"] == "choice  –"
    assert lines["faithfulness"] == "–"
