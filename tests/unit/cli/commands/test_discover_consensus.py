"""`acdc discover --consensus`: what it tells, and what it cannot go with."""

from __future__ import annotations

import re

import pytest

from acdc_pipeline.cli.terminal import progress
from tests.command_line import acdc


def test_consensus_names_the_two_paths_of_a_redundant_model(capsys):
    words = ("compiled_backup", "zoo:compiled-backup", "--prompts", "8", "--consensus", "4")
    told = acdc(capsys, "discover", *words).out
    assert "0 necessary, 6 alternative, 0 accidental, 0 uncertain" in told
    document = acdc(capsys, "discover", *words, "--json").document
    (group,) = document["consensus"]["or_groups"]
    first, second = map(set, group["alternatives"])
    kept = {edge["edge"]: edge["kept"] for edge in document["consensus"]["edges"]}
    for path in (first, second):
        counts = sorted({kept[edge] for edge in path})
        assert f"kept by {' to '.join(map(str, counts))} of 4)" in told
    assert "a0.h1->logits" in first
    assert "a1.h2->logits" in second


def test_progress_counts_the_edges_that_all_searches_keep(capsys, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", -1.0)
    words = ("compiled_sum", "zoo:compiled-sum", "--prompts", "8", "--consensus", "2")
    told = acdc(capsys, "discover", *words).err
    # five true edges, which both searches keep
    assert re.findall(r"(\d+) kept", told)[-1] == "10"
    # a search that has ended has no edges left, though it did not test those that were dead
    left = [int(number) for number in re.findall(r"at most (\d+) of", told)]
    total = int(re.findall(r"of (\d+) left", told)[0])
    skipped = [at for at in range(1, len(left)) if left[at - 1] - left[at] > 1]
    assert [left[at] for at in skipped] == [total // 2 - 1]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--consensus", "1"), "--consensus: 1 is too small"),
        (("--consensus-line", "0.9"), "--consensus-line: is of a consensus"),
        (("--consensus-line", "0.9"), "give `--consensus` as well"),
        (("--consensus", "4", "--method", "eap"), "--consensus: method 'eap' has no such"),
        (("--consensus", "4", "--faithful", "0.9"), "--faithful: cannot go with --consensus"),
    ],
)
def test_what_a_consensus_cannot_go_with_is_refused(capsys, more: tuple[str, ...], says: str):
    acdc(capsys, "discover", "compiled_or", "zoo:compiled-or", *more).refuses(says)
