"""`acdc evaluate` on models whose circuit is known."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from acdc_pipeline.models.zoo import compiled
from acdc_pipeline.store import open_store
from tests import records
from tests.command_line import acdc

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
    assert (found["curve"], found["cpr"], found["stability"]) == ([], None, None)
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
    assert [p["edges"] <= p["fraction"] * 23 for p in curve] == [True] * 10
    assert curve[-2]["faithfulness"] == pytest.approx(1, abs=1e-4)
    areas = [
        (b["fraction"] - a["fraction"]) * (a["faithfulness"] + b["faithfulness"]) / 2
        for a, b in itertools.pairwise(curve)
    ]
    assert document["cpr"] == pytest.approx(sum(areas))
    # the program has one circuit, whatever the prompts
    assert document["stability"]["jaccard"] == 1
    assert document["transfer"]["unseen"] == pytest.approx(1, abs=1e-3)
    facts = acdc(capsys, "evaluate", found["run_id"][:8], *FEW, "--resamples", "0")
    parts = [line.rpartition(": ")[2] for line in facts.err.splitlines()]
    assert parts == [
        "faithfulness",
        "random circuits",
        "completeness",
        "minimality",
        "causal scrubbing",
    ]
    *_, whole = facts.out.splitlines()
    # what rounding leaves of the divergence of the model from itself is not shown
    assert whole.split() == ["100%", "23", "1.00", "0"]
    assert "CPR" in facts.out
    assert "causal scrubbing" in facts.out
    assert "from 1 start" in facts.out


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


def test_compare_puts_searches_side_by_side_and_thresholds_into_one(capsys, store_url: str):
    asked = ("discover", "compiled_sum", "zoo:compiled-sum", "--prompts", "8")
    for more in (
        ("--threshold", "0.5"),
        ("--threshold", "1e6"),
        ("--method", "exact"),
        ("--method", "random"),
    ):
        assert acdc(capsys, *asked, *more).code == 0
    found = acdc(capsys, "compare", "--json").document["searches"]
    assert [(one["method"]["name"], one["circuits"]) for one in found] == [
        ("acdc", 2),
        ("exact", 1),
        ("random", 1),
    ]
    assert {one["measured_in"] for one in found} == {"kl"}
    # five edges of 23 are first allowed at 0.5: a line from 0.2 to 1 at 0.5, then 1 up to the end
    assert found[0]["cpr"] == pytest.approx(0.3 / 2 + 0.5, abs=1e-3)
    assert found[0]["cmd"] == pytest.approx(0.999 - 0.65, abs=1e-3)
    assert found[2]["cpr"] < found[1]["cpr"]
    table = acdc(capsys, "compare", "--metric", "logit_diff")
    assert table.out.count("logit_diff") == 3
    assert acdc(capsys, "compare", "--task", "ioi").out == ""
    head, rule, row = acdc(capsys, "compare", "--markdown").out.splitlines()
    assert head == "| task | model | acdc | exact | random |"
    assert rule == "|---|---|---|---|---|"
    areas = [f"{one['cpr']:.2f} / {one['cmd']:.2f}" for one in found]
    assert row == f"| compiled_sum | compiled-sum | {' | '.join(areas)} |"
    acdc(capsys, "compare", "--markdown", "--json").refuses("--markdown and --json")


def test_compare_of_a_changed_task_says_so_and_goes_on(capsys, store_url: str):
    open_store(store_url).commit(records.record())
    outcome = acdc(capsys, "compare", "--json")
    (only,) = outcome.document["searches"]
    assert (only["cpr"], only["cmd"]) == (None, None)
    assert "has changed since" in only["problem"]
    acdc(capsys, "compare", "--metric", "kll").refuses("'kll'", "logit_diff")
