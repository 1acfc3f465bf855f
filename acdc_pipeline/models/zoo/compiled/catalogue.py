"""The table of compiled programs, in the order of the documentation.

A new program is a `Program` in the file of the circuits that it resembles, and a line here.
Tests run every program of the table: its answers, its true edges, and the scores of its heads.
"""

from __future__ import annotations

from acdc_pipeline.models.zoo.compiled.cancelling import CANCEL
from acdc_pipeline.models.zoo.compiled.composition import INDUCTION, LOOKBACK, LOOKUP, RELAY
from acdc_pipeline.models.zoo.compiled.mlp_steps import MAJORITY, REVERSE, SUCCESSOR
from acdc_pipeline.models.zoo.compiled.negative import NEGATIVE
from acdc_pipeline.models.zoo.compiled.parallel_paths import BACKUP, OR, SUM
from acdc_pipeline.models.zoo.compiled.program import Program
from acdc_pipeline.models.zoo.compiled.single_heads import GALLERY, SORT

PROGRAMS: tuple[Program, ...] = (
    INDUCTION,
    REVERSE,
    LOOKBACK,
    LOOKUP,
    RELAY,
    SORT,
    SUCCESSOR,
    SUM,
    MAJORITY,
    NEGATIVE,
    CANCEL,
    OR,
    BACKUP,
    GALLERY,
)
