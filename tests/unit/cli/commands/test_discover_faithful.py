"""`acdc discover --faithful`, and what `acdc discover` takes without a size."""

from __future__ import annotations

from pathlib import Path

import pytest

from acdc_pipeline.cli.views.faithful import faithful_document, print_trials
from acdc_pipeline.store import open_store
from acdc_pipeline.workflows.faithful import FaithfulRun, Trial
from tests import records
from tests.command_line import Outcome, acdc

TARGET = ("compiled_or", "zoo:compiled-or")


def discovered(capsys, *more: str) -> Outcome:
    return acdc(capsys, "discover", *TARGET, *more, "--json")


def test_discover_without_a_size_says_which_it_took_and_how_to_look_for_one(capsys):
    said = acdc(capsys, "discover", *TARGET)
    assert "note: threshold 0.01: the default of acdc; --faithful 0.9 looks for" in said.err
    said = acdc(capsys, "discover", *TARGET, "--method", "exact")
    assert "note: share 0.05: the default of exact; --faithful 0.9 looks for" in said.err
    given = acdc(capsys, "discover", *TARGET, "--method", "random", "--edges", "9")
    assert "the default of" not in given.err


def test_discover_of_a_faithfulness_shows_what_was_tried_and_takes_the_smallest(capsys, store_url):
    found = acdc(capsys, "discover", *TARGET, "--faithful", "0.9")
    assert found.code == 0, found.err
    assert "threshold 0.01: 4 edges, faithfulness 1.000\n" in found.err
    assert "the default of" not in found.err
    document = discovered(capsys, "--faithful", "0.9").document
    assert document["cached"] is True
    # one of two redundant paths of four edges: it takes the behaviour with it
    assert document["edges_kept"] == 4
    assert document["faithful"]["target"] == 0.9
    tried = document["faithful"]["tried"]
    assert tried[0]["threshold"] == 0.01
    assert sorted(trial["run_id"] for trial in tried) == open_store(store_url).run_ids()
    assert min(t["edges_kept"] for t in tried if t["faithfulness"] >= 0.9) == 4
    (row,) = (line for line in found.out.splitlines() if line.endswith("taken"))
    assert document["run_id"][:8] in row
    assert f"{document['method']['threshold']:g}" in row
    by_hand = discovered(capsys, "--threshold", str(document["method"]["threshold"])).document
    assert by_hand["run_id"] == document["run_id"]
    assert "faithful" not in by_hand


def test_discover_of_a_faithfulness_by_scores_measures_cuts(capsys):
    found = discovered(capsys, "--method", "eap-ig-inputs", "--faithful", "0.9")
    document = found.document
    assert document["method"]["edges"] == document["edges_kept"]
    assert document["details"]["faithfulness"] >= 0.9
    assert all(trial["run_id"] is None for trial in document["faithful"]["tried"])
    edges = f"{document['edges_kept']} edges: faithfulness "
    assert edges in found.err


def test_discover_of_a_faithfulness_that_nothing_reaches_says_how_near_it_came(capsys):
    # a fifth of the edges lacks the key of each path
    method = ("--method", "eap-ig-acdc", "--screen", "0.2")
    acdc(capsys, "discover", *TARGET, *method, "--faithful", "0.99").refuses(
        "--faithful: no circuit of eap-ig-acdc reaches a faithfulness of 0.99 in kl",
        "fix: lower the target",
    )


BAD = [
    ((*TARGET, "--faithful", "0"), ("--faithful: 0.0 is not a faithfulness", "above 0, up to 1")),
    ((*TARGET, "--faithful", "1.1"), ("--faithful: 1.1 is not a faithfulness", "up to 1")),
    ((*TARGET, "--faithful", "nan"), ("--faithful: nan is not a faithfulness", "up to 1")),
    ((*TARGET, "--faithful", "most"), ("--faithful", "'most'")),
    (
        (*TARGET, "--faithful", "0.9", "--threshold", "1"),
        ("--faithful: cannot go with --threshold", "one of both"),
    ),
    (
        (*TARGET, "--method", "random", "--faithful", "0.9", "--edges", "3"),
        ("--faithful: cannot go with --edges", "one of both"),
    ),
]


@pytest.mark.parametrize(("arguments", "parts"), BAD, ids=" ".join)
def test_discover_of_a_faithfulness_with_bad_input_says_one_thing_and_writes_nothing(
    capsys, store_url, arguments: tuple[str, ...], parts: tuple[str, ...]
):
    acdc(capsys, "discover", *arguments).refuses(*parts)
    assert not Path(store_url).exists()


def test_path_of_many_cuts_shows_those_near_the_one_taken_and_the_document_all(capsys):
    # the record has a circuit of three edges
    trials = tuple(Trial(None, n, n / 30, None) for n in (20, 1, 2, 3, *range(4, 20)))
    found = FaithfulRun(records.record(), 0.1, False, trials)
    print_trials(found)
    out, err = capsys.readouterr()
    rows = [line.split() for line in out.splitlines()[2:14]]
    assert [int(row[0]) for row in rows] == list(range(1, 13))
    assert [row[0] for row in rows if row[-1] == "taken"] == ["3"]
    assert "(12 of 20 circuits tried; --json has all)" in out
    assert err == ""
    document = faithful_document(found)["faithful"]
    assert [trial["edges_kept"] for trial in document["tried"]] == [t.edges for t in trials]
    assert document["monotone"] is True


def test_path_on_which_a_larger_circuit_is_worse_says_so(capsys):
    run_id = records.spec().run_id()
    trials = (Trial(0.01, 3, 0.9, run_id), Trial(0.001, 4, 0.899, "f" * 20))
    found = FaithfulRun(records.record(), 0.9, False, trials)
    print_trials(found)
    out, err = capsys.readouterr()
    assert "0.8990" in out
    assert "a larger one than that taken is below 0.9" in err
    assert faithful_document(found)["faithful"]["monotone"] is False
