"""SmolLM2-135M-Instruct in 4 bits, as it comes: what a model made for tests cannot show."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import torch

from acdc_pipeline.engine import parity_error
from acdc_pipeline.models import LoadedModel, describe_model, load_model
from tests.command_line import acdc
from tests.real_models import real_reference

pytestmark = pytest.mark.real

PROMPT = "When Mary and John went to the store, John gave a drink to"


@pytest.fixture(scope="module")
def model() -> Iterator[LoadedModel]:
    """The model, loaded once for this file."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield load_model(real_reference(monkeypatch), device="cpu")


def test_real_model_has_the_published_shape(real_model: str):
    shape = describe_model(real_model)
    assert (shape.n_layers, shape.n_heads, shape.n_kv_heads) == (30, 9, 3)
    assert (shape.d_model, shape.d_head, shape.d_mlp, shape.vocab) == (576, 64, 1536, 49152)
    # 30 layers of 9 heads: of three inputs each, MLPs and logits, every earlier output an edge
    outputs = [1 + 10 * layer for layer in range(31)]
    heads = sum(27 * earlier for earlier in outputs[:-1])
    mlps = sum(earlier + 9 for earlier in outputs[:-1])
    assert shape.n_edges == heads + mlps + outputs[-1]


def test_engine_reproduces_the_real_model(model: LoadedModel):
    assert model.tokenizer is not None
    tokens = torch.tensor([model.tokenizer.encode(PROMPT, add_special_tokens=False)])
    assert parity_error(model, tokens, torch.tensor([tokens.shape[1]])) <= 1e-5


def test_real_model_gives_the_indirect_object_first(model: LoadedModel):
    assert model.tokenizer is not None
    tokens = torch.tensor([model.tokenizer.encode(PROMPT, add_special_tokens=False)])
    values, ids = model.reference_logits(tokens)[0, -1].topk(3)
    assert [model.tokenizer.decode([int(token)]) for token in ids] == [" Mary", " the", " his"]
    # as transformers gives them for these weights, to the two digits that were written down
    torch.testing.assert_close(values, torch.tensor([11.04, 7.28, 5.94]), rtol=0, atol=0.005)


def test_real_model_reads_numbers_digit_by_digit(model: LoadedModel):
    assert model.tokenizer is not None
    ids = model.tokenizer.encode(" from 1732 to 17", add_special_tokens=False)
    pieces = [model.tokenizer.decode([token]) for token in ids]
    assert pieces == [" from", " ", "1", "7", "3", "2", " to", " ", "1", "7"]


def test_real_model_is_loaded_from_the_cache_the_second_time(
    model: LoadedModel, real_model: str, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, "acdc_pipeline")
    assert load_model(real_model, device="cpu").revision == model.revision
    assert not caplog.records  # a conversion says that it begins


@pytest.mark.slow
def test_models_check_passes_the_real_model(capsys, real_model: str):
    checked = acdc(capsys, "models", "check", real_model, "--json")
    assert checked.code == 0
    assert checked.document["parity_error"] <= 1e-5
