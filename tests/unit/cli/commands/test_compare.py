"""`acdc compare`: areas from stored evaluations, and those that are measured on demand."""

from __future__ import annotations

import subprocess
import sys

import pytest

from acdc_pipeline.store import open_store
from tests import records
from tests.command_line import acdc
from tests.support import REPOSITORY


def test_compare_puts_searches_side_by_side_and_thresholds_into_one(capsys, store_url: str):
    asked = ("discover", "compiled_sum", "zoo:compiled-sum", "--prompts", "8")
    for more in (
        ("--threshold", "0.5"),
        ("--threshold", "1e6"),
        ("--method", "exact"),
        ("--method", "random"),
    ):
        assert acdc(capsys, *asked, *more).code == 0
    unknown = acdc(capsys, "compare", "--json")
    assert {one["cpr"] for one in unknown.document["searches"]} == {None}
    assert "no curve stored for 3 of 3 searches" in unknown.err
    assert unknown.err.endswith("acdc compare --json --measure\n")
    found = acdc(capsys, "compare", "--json", "--measure").document["searches"]
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
    # the two curves are one, on all prompts and so on all resamples; the largest circuits
    assert [one["place"] for one in found] == [1, 1, 3]
    assert found[0]["cmd_interval"] == pytest.approx([found[0]["cmd"]] * 2, abs=1e-3)
    assert (found[0]["edges_kept"], found[0]["pairs_kept"]) == (5, 5)
    stored = acdc(capsys, "compare", "--json").document["searches"]
    assert [(one["cpr"], one["cmd"]) for one in stored] == [
        (one["cpr"], one["cmd"]) for one in found
    ]
    # another threshold is another curve
    assert acdc(capsys, *asked, "--threshold", "2").code == 0
    *_, last = acdc(capsys, "compare", "--json").document["searches"]
    assert (last["method"]["name"], last["cpr"], last["place"]) == ("acdc", None, None)
    again = acdc(capsys, "compare", "--json", "--measure").document["searches"]
    assert [one["cpr"] for one in again[1:]] == [one["cpr"] for one in found[1:]]
    other = acdc(capsys, "compare", "--metric", "logit_diff", "--measure")
    assert other.out.count("logit_diff") == 3
    kept = acdc(capsys, "compare", "--metric", "logit_diff", "--json").document["searches"]
    assert {one["cpr"] for one in kept} == {None}
    assert acdc(capsys, "compare", "--task", "ioi").out == ""
    head, rule, row = acdc(capsys, "compare", "--markdown").out.splitlines()
    assert head == "| task | model | acdc | exact | random |"
    assert rule == "|---|---|---|---|---|"
    areas = [f"{one['cmd']:.2f} / {one['cpr']:.2f}" for one in again]
    assert row == f"| compiled_sum | compiled-sum | {' | '.join(areas)} |"
    acdc(capsys, "compare", "--markdown", "--json").refuses("--markdown and --json")


def test_compare_tells_a_consensus_from_one_search(capsys, store_url: str):
    asked = ("discover", "compiled_sum", "zoo:compiled-sum", "--prompts", "8")
    for more in ((), ("--consensus", "2"), ("--consensus", "2", "--consensus-line", "0.7")):
        assert acdc(capsys, *asked, *more).code == 0
    head, _, *rows = acdc(capsys, "compare").out.splitlines()
    assert "consensus line" in head
    assert ["acdc x 2" in row for row in rows] == [False, True, True]
    lines = [[line for line in ("0.5", "0.7") if line in row] for row in rows]
    assert sorted(lines) == [[], ["0.5"], ["0.7"]]
    head = acdc(capsys, "compare", "--markdown").out.splitlines()[0]
    assert head == "| task | model | acdc | acdc x 2 | acdc x 2, consensus line 0.7 |"


def test_compare_of_a_changed_task_says_so_and_goes_on(capsys, store_url: str):
    open_store(store_url).commit(records.record())
    outcome = acdc(capsys, "compare", "--json")
    assert outcome.code == 3
    (only,) = outcome.document["searches"]
    assert (only["cpr"], only["cmd"]) == (None, None)
    assert "has changed since" in only["problem"]
    acdc(capsys, "compare", "--metric", "kll").refuses("'kll'", "did you mean 'kl'?")


def test_compare_of_circuits_without_edges_has_no_curve_and_says_so(capsys, store_url: str):
    asked = ("discover", "compiled_sum", "zoo:compiled-sum", "--prompts", "4")
    run = acdc(capsys, *asked, "--threshold", "1e6", "--json").document["run_id"]
    shown = acdc(capsys, "compare", "--measure", "--json")
    assert shown.code == 0
    (only,) = shown.document["searches"]
    assert (only["cpr"], only["cmd"], only["problem"]) == (None, None, None)
    assert "there is no curve" in only["reason"]
    assert shown.err == f"{run[:8]}, acdc: compiled_sum in zoo:compiled-sum: {only['reason']}\n"


def test_commands_that_read_results_load_no_torch(tmp_path):
    record = records.record()
    open_store(tmp_path, "write").commit(record)
    run = record.spec.run_id()
    asked = (
        ["compare", "--metric", "kl"],
        ["runs", "list"],
        ["runs", "show", run],
        ["runs", "compare", run, run],
    )
    code = (
        "import sys; from acdc_pipeline.cli.main import main; "
        f"codes = [main([*words, '--store', {str(tmp_path)!r}]) for words in {asked!r}]; "
        "print({'torch', 'transformers', 'transformer_lens', 'ray'} & set(sys.modules), codes)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert shown.stdout.splitlines()[-1] == "set() [0, 0, 0, 0]"
