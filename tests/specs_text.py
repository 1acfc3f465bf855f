"""Texts of specification files for tests, changed one line at a time."""

from __future__ import annotations

from pathlib import Path

TASK = """\
name: ioi
title: Indirect object identification
behaviour: Mary and John went to the store, John gave a drink to -> Mary
source: {paper: "Wang et al. 2022", arxiv: "2211.00593"}
generator:
  kind: template
  bos: false
  templates:
    - "Then, {A} and {B} went to the {place}. {S} gave a {object} to"
  slots: {A: names, B: names, place: places, object: objects}
  words: {names: [Mary, John, Tom, Ann], places: [store, park], objects: objects.txt}
  roles: {S: [A, B], IO: other}
  corrupted: {A: fresh, B: fresh, S: fresh}
answers: {correct: "{IO}", incorrect: "{S}"}
metrics: {discovery: kl, report: [logit_diff, accuracy]}
"""


def write_task(folder: Path, old: str = "", new: str = "") -> Path:
    """The task file above in `folder`/ioi, with `old` replaced by `new`."""
    assert old in TASK
    path = folder / "ioi" / "task.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(TASK.replace(old, new) if old else TASK)
    (path.parent / "objects.txt").write_text("drink\nkiss\n")
    return path
