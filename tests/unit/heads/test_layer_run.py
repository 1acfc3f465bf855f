"""One layer at a time against the engine's own forwards, for every architecture."""

from __future__ import annotations

import pytest
import torch

from acdc_pipeline.engine import run_circuit
from acdc_pipeline.engine.forward import run_sources
from acdc_pipeline.errors import OutOfMemoryBudget
from acdc_pipeline.graph import Edge, head
from acdc_pipeline.heads.batches import chunks, row_bytes, rows_at_once
from acdc_pipeline.heads.layer_run import Edits, LayerRun, run_tokens, zero_heads
from tests import checkpoints, tiny_models

TOKENS = torch.randint(checkpoints.VOCAB, (3, 7), generator=torch.Generator().manual_seed(3))
OTHER = torch.randint(checkpoints.VOCAB, (3, 7), generator=torch.Generator().manual_seed(4))

# One of each kind: learned positions, rotary with grouped keys, parallel blocks, norms behind
# attention, norms across heads, no MLP.
KINDS = ("gpt2", "llama", "neox", "gemma2", "olmo2", "native-ln")


@pytest.mark.parametrize("name", checkpoints.EVERY)
def test_run_tokens_writes_what_the_clean_forward_writes(name: str):
    weights = tiny_models.weights(name)
    sources = run_sources(weights, TOKENS)
    runs: list[LayerRun] = []
    final = run_tokens(weights, TOKENS, visit=runs.append)
    together = run_tokens(weights, TOKENS)
    names = [str(node) for node in weights.topology.sources]
    for run in runs:
        first = names.index(f"a{run.layer}.h0")
        expected = sources.outputs[first : first + len(run.written)]
        torch.testing.assert_close(run.written, expected, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(run.pattern.sum(-1), torch.ones_like(run.pattern[..., 0]))
        # carrying everything from everywhere is what the head writes
        at = torch.arange(TOKENS.shape[1])
        carried = run.into_stream(run.pattern @ run.values, at)
        torch.testing.assert_close(carried, run.written, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(final, sources.final, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(together, sources.final, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", KINDS)
def test_a_head_that_writes_something_else_is_all_its_edges_removed(name: str):
    weights = tiny_models.weights(name)
    ablated = run_sources(weights, OTHER).outputs
    names = [str(node) for node in weights.topology.sources]
    for node in (head(0, 1), head(1, 0)):
        edits = Edits({node: ablated[names.index(str(node))]})
        kept = [edge for edge in weights.topology.edges if edge.src != node]
        expected = run_circuit(weights, TOKENS, ablated, kept)
        torch.testing.assert_close(
            run_tokens(weights, TOKENS, edits=edits), expected, rtol=1e-10, atol=1e-10
        )


@pytest.mark.parametrize("name", KINDS)
def test_queries_that_read_something_else_are_their_edges_removed(name: str):
    weights = tiny_models.weights(name)
    clean, ablated = run_sources(weights, TOKENS).outputs, run_sources(weights, OTHER).outputs
    place = [str(node) for node in weights.topology.sources].index("a0.h1")
    readers = [head(1, 0), head(1, 1)]
    edits = Edits(query_shift=dict.fromkeys(readers, ablated[place] - clean[place]))
    removed = {Edge.parse(f"a0.h1->{reader}<q>") for reader in readers}
    expected = run_circuit(weights, TOKENS, ablated, weights.topology.edge_set - removed)
    torch.testing.assert_close(
        run_tokens(weights, TOKENS, edits=edits), expected, rtol=1e-10, atol=1e-10
    )


def test_silenced_heads_write_nothing():
    weights = tiny_models.weights("gpt2")
    runs: list[LayerRun] = []
    run_tokens(weights, TOKENS, edits=zero_heads([head(1, 1)], weights.w_e), visit=runs.append)
    assert not runs[1].written[1].any()
    assert runs[1].written[0].any()


def test_rows_at_once_keeps_the_budget_and_names_what_is_missing():
    weights = tiny_models.weights("gpt2")
    one = row_bytes(weights, 10)
    assert rows_at_once(weights, 10, 5 * one + one // 2) == 5
    with pytest.raises(OutOfMemoryBudget, match="10 tokens") as raised:
        rows_at_once(weights, 10, one - 1)
    assert raised.value.fix


def test_chunks_cover_everything_once():
    assert list(chunks(7, 3)) == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert list(chunks(2, 0)) == [slice(0, 1), slice(1, 2)]
