"""Relations that tasks declare, and the heads that hold them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from acdc_pipeline.heads.relations import (
    Relation,
    relation_values,
    successor_scores,
    task_relation,
    token_lists,
    word_pairs,
)
from acdc_pipeline.specs import find_task
from tests.hand_built import Stream
from tests.tokenizers import word_tokenizer

MEMORY = 1 << 26
STREAM = Stream(vocab=12, positions=4)


def test_relation_of_a_table_is_from_its_one_column_to_the_answer():
    pairs = word_pairs(find_task("country_capital"))
    assert ("France", "Paris") in pairs
    assert len(pairs) == len(set(pairs)) > 20


def test_tasks_with_several_columns_or_none_declare_no_relation():
    for name in ("ioi", "induction", "docstring", "successor", "colored_objects"):
        assert word_pairs(find_task(name)) == []


def test_relation_keeps_pairs_of_known_single_tokens():
    countries = [("France", "Paris"), ("Italy", "Rome"), ("Japan", "Tokyo"), ("Cuba", "Havana")]
    task = find_task("country_capital")
    known = [pair for pair in countries if pair in word_pairs(task)]
    words = [word for pair in known for word in pair]
    tokenizer = word_tokenizer([*words, "Norway"])
    found = task_relation(task, tokenizer, vocab=100)
    if len(known) < 4:
        assert found is None
        return
    assert found is not None
    names = tokenizer.convert_ids_to_tokens([*found.sources, *found.targets])
    assert sorted(name.strip() for name in names) == sorted(words)
    assert task_relation(task, None, vocab=100) is None
    assert task_relation(task, word_tokenizer(["France", "Paris"]), vocab=100) is None


def shifted_by_one() -> torch.Tensor:
    """From each token to the next, the last to none."""
    matrix = torch.zeros(STREAM.d_model, STREAM.d_head, dtype=torch.float64)
    matrix[STREAM.part("token"), : STREAM.vocab] = torch.eye(STREAM.vocab, dtype=torch.float64)
    return matrix.roll(1, dims=1)


def test_head_that_takes_each_token_to_the_next_has_the_relation_and_its_inverse_none():
    forward = replace(STREAM.uniform(), v=shifted_by_one())
    weights = STREAM.weights([forward, STREAM.uniform(), STREAM.idle()])
    pairs = Relation((1, 2, 3, 4), (2, 3, 4, 5))
    values = relation_values(weights, pairs, MEMORY, "mine")
    # a copying head has the target nowhere special: eleven tokens share one logit
    assert values.mean.tolist() == [[1.0, 0.0, 0.0]]
    assert values.key == "relation@1:mine"
    assert values.n == 4


def test_successor_must_beat_every_other_word_of_its_list():
    forward = replace(STREAM.uniform(), v=shifted_by_one())
    weights = STREAM.weights([forward, STREAM.uniform(), STREAM.idle()])
    found = successor_scores(weights, [[1, 2, 3], [5, 6, 7, 8], [9, 11, 10]])
    # of the last list, 9 leads to 10 and not to 11, and 11 to nothing: all words share one logit
    assert found[:, 0, 0].tolist() == [1, 1, 1, 1, 1, 0, 0]
    assert not found[:, 0, 1:].any()


def test_ordered_words_are_runs_of_single_tokens():
    days = ["Monday", "Tuesday", "Wednesday", "Friday", "Saturday", "Sunday"]
    months = ["January", "February", "March", "April", "May", "June"]
    tokenizer = word_tokenizer([*days, *months])
    runs = token_lists(tokenizer, vocab=100)
    named = [[str(tokenizer.decode([token])).strip() for token in run] for run in runs]
    # no Thursday: the week falls apart
    assert named == [days[:3], days[3:], months]
    assert token_lists(word_tokenizer(months), vocab=100) == []
    assert np.all([token < 100 for run in runs for token in run])
