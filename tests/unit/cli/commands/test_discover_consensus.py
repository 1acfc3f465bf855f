"""`acdc discover --consensus`: what it tells, and what it cannot go with."""

from __future__ import annotations

import pytest

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


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--consensus", "1"), "--consensus: 1 is too small"),
        (("--consensus-line", "0.9"), "--consensus-line: is of a consensus"),
        (("--consensus", "4", "--method", "eap"), "--consensus: method 'eap' has no such"),
        (("--consensus", "4", "--faithful", "0.9"), "--faithful: cannot go with --consensus"),
    ],
)
def test_what_a_consensus_cannot_go_with_is_refused(capsys, more: tuple[str, ...], says: str):
    acdc(capsys, "discover", "compiled_or", "zoo:compiled-or", *more).refuses(says)
