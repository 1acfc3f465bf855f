"""The package as a library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import acdc_pipeline
from acdc_pipeline.errors import InvalidInput, SpecError
from acdc_pipeline.models.zoo.compiled import true_circuit


def test_package_every_public_name_resolves():
    for name in acdc_pipeline.__all__:
        assert getattr(acdc_pipeline, name) is not None
        assert name in dir(acdc_pipeline)


def test_package_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = acdc_pipeline.nothing


def test_discover_compiled_model_returns_its_true_circuit_and_stores_it(tmp_path: Path):
    store = acdc_pipeline.open_store(tmp_path, mode="write")
    first = acdc_pipeline.discover(
        "induction", "zoo:compiled-induction", threshold=0.01, prompts=8, store=store
    )
    assert first.circuit is not None
    assert first.circuit.edges == true_circuit("compiled-induction", "corrupted").edges
    again = acdc_pipeline.discover(
        "induction", "zoo:compiled-induction", threshold=0.01, prompts=8, store=store
    )
    assert again == first
    assert store.run_ids() == [first.spec.run_id()]


def test_discover_negative_threshold_is_refused():
    with pytest.raises(SpecError, match="threshold"):
        acdc_pipeline.discover("induction", "zoo:compiled-induction", threshold=-1.0)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"prompts": 0}, "discover: prompts: 0 is not at least 1"),
        ({"prompts": -5}, "prompts: -5 is not at least 1"),
        ({"seed": -1}, "seed: -1 is not at least 0"),
        ({"dtype": "float8"}, "dtype: 'float8' is not"),
        ({"memory": 0}, "memory: 0 is not an amount of memory"),
        ({"store": "nowhere://x"}, "'nowhere' is not a kind of store"),
    ],
)
def test_discover_wrong_argument_is_named(wrong: dict[str, Any], says: str):
    with pytest.raises(InvalidInput, match=says):
        acdc_pipeline.discover("induction", "zoo:compiled-induction", threshold=0.01, **wrong)


@pytest.mark.parametrize("form", [str, Path])
def test_discover_stores_into_a_folder_that_is_only_named(tmp_path: Path, form: type):
    store = form(tmp_path / "runs")
    run = acdc_pipeline.discover(
        "induction", "zoo:compiled-induction", threshold=0.01, prompts=2, store=store
    )
    assert acdc_pipeline.open_store(store).run_ids() == [run.spec.run_id()]
