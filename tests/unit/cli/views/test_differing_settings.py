"""Tables of runs tell apart those that differ in how their circuits are cut from scores."""

from __future__ import annotations

from typing import Any

import pytest

from acdc_pipeline.cli.views.comparison import searches_markdown
from acdc_pipeline.cli.views.run_list import differing_settings
from acdc_pipeline.specs import RunSpec, find_task, method_for
from acdc_pipeline.store.record import RunSummary
from acdc_pipeline.text import NONE as DASH
from acdc_pipeline.workflows.search_areas import SearchAreas
from tests import records

IOI = find_task("ioi")


def run(name: str, **given: Any) -> RunSpec:
    method = method_for(name, given, IOI, where="test")
    return records.spec().model_copy(update={"method": method})


def search(spec: RunSpec, cmd: float) -> SearchAreas:
    summary = RunSummary(spec.run_id(), spec, 3, 9, {}, 1.0, None, "1")
    return SearchAreas((summary,), "kl", cmd=cmd, cpr=1.0)


@pytest.mark.parametrize(
    ("name", "setting", "default", "given"),
    [
        ("eap", "select", "greedy", "ilp"),
        ("eap", "positive_share", "0.0", 0.6),
        ("eap", "sign_filter", "0", 200),
        ("eap-ig-inputs", "rounds", "1", 4),
        ("eap-exact", "budget", DASH, 1500.0),
        ("node-pruning", "block_penalty", "1.0", 3.0),
        ("node-pruning", "neuron_penalty", "1.0", 0.5),
    ],
)
def test_a_run_without_the_setting_has_its_default(
    name: str, setting: str, default: str, given: Any
):
    rows = differing_settings([run(name), run(name, **{setting: given})])
    column = setting.replace("_", " ")
    assert rows == [{column: default}, {column: str(given)}]


def test_settings_that_do_not_differ_have_no_column():
    assert differing_settings([run("eap"), run("eap")]) == [{}, {}]


def test_markdown_has_a_column_for_each_selection():
    plain, together = run("eap"), run("eap", select="ilp")
    table = searches_markdown([search(plain, 0.1), search(together, 0.2)]).splitlines()
    assert table[0] == "| task | model | eap | eap, select ilp |"
    assert table[2] == "| ioi | attn-2l | 0.10 / 1.00 | 0.20 / 1.00 |"
