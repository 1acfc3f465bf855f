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
    assert "a0.h1->logits" in first
    assert "a1.h2->logits" in second


def test_progress_counts_the_edges_that_all_searches_keep(capsys, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", -1.0)
    words = ("compiled_sum", "zoo:compiled-sum", "--prompts", "8", "--consensus", "2")
    kept = re.findall(r"(\d+) kept", acdc(capsys, "discover", *words).err)
    # five true edges, which both searches keep
    assert int(kept[-1]) == 10


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
