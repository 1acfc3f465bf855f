"""All compiled programs. A new one is a file beside this and a line here."""

from __future__ import annotations

from acdc_pipeline.models.zoo.compiled import (
    addition,
    backup,
    gallery,
    induction,
    lookback,
    lookup,
    majority,
    negative,
    or_gate,
    relay,
    reverse,
    sort,
    successor,
)
from acdc_pipeline.models.zoo.compiled.program import Program

PROGRAMS: tuple[Program, ...] = (
    induction.PROGRAM,
    reverse.PROGRAM,
    lookback.PROGRAM,
    lookup.PROGRAM,
    relay.PROGRAM,
    sort.PROGRAM,
    successor.PROGRAM,
    addition.PROGRAM,
    majority.PROGRAM,
    negative.PROGRAM,
    or_gate.PROGRAM,
    backup.PROGRAM,
    gallery.PROGRAM,
)
