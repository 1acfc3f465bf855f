"""All compiled programs. A new one is a file beside this and a line here."""

from __future__ import annotations

from acdc_pipeline.models.zoo.compiled import induction, or_gate, reverse
from acdc_pipeline.models.zoo.compiled.program import Program

PROGRAMS: tuple[Program, ...] = (induction.PROGRAM, reverse.PROGRAM, or_gate.PROGRAM)
