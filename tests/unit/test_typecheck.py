"""The check of annotations that all other tests run under."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product as product_of
from typing import Any

import pytest
import torch
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import Float, Int, Shaped, TypeCheckError, jaxtyped
from torch import Tensor

from acdc_pipeline.engine.forward import embed
from acdc_pipeline.graph import Topology
from tests import quick_shapes, tiny_models
from tests.typecheck import checked


@checked
def product(
    a: Float[Tensor, "row inner"], b: Float[Tensor, "inner column"]
) -> Float[Tensor, "row column"]:
    return a @ b


@checked
def transposed(a: Float[Tensor, "row column"]) -> Float[Tensor, "column row"]:
    return a


@checked
def pieces(a: Float[Tensor, "row column"], size: int) -> Iterator[Float[Tensor, "_ column"]]:
    yield from a.split(size)


@checked
@dataclass
class Pair:
    a: Float[Tensor, " row"]
    b: Int[Tensor, " row"]
    note: str = field(default="")

    @checked
    def rows(self, times: int) -> int:
        return times * len(self.a)


def test_what_fits_its_annotations_is_computed():
    assert product(torch.zeros(2, 3), torch.zeros(3, 4)).shape == (2, 4)
    # sizes are those of one call
    assert product(torch.zeros(5, 1), torch.zeros(1, 2)).shape == (5, 2)
    assert transposed(torch.zeros(2, 2)).shape == (2, 2)
    assert len(list(pieces(torch.zeros(5, 1), 2))) == 3
    assert Pair(torch.zeros(2), torch.tensor([1, 2])).rows(2) == 4


@pytest.mark.parametrize(
    "call",
    [
        lambda: product(torch.zeros(2, 3), torch.zeros(2, 4)),
        lambda: product(torch.zeros(2, 3), torch.zeros(3, 4, dtype=torch.int64)),
        lambda: product(torch.zeros(2, 3), None),
        lambda: transposed(torch.zeros(2, 3)),
        lambda: pieces(torch.zeros(2, 3), 1.0),
        lambda: Pair(torch.zeros(2), torch.tensor([1, 2, 3])),
        lambda: Pair(torch.zeros(2), torch.zeros(2)),
        lambda: Pair(torch.zeros(2), torch.tensor([1, 2]), note=3),
        lambda: Pair(torch.zeros(2), torch.tensor([1, 2])).rows("2"),
    ],
)
def test_shape_dtype_or_type_that_is_not_as_annotated_is_refused(call):
    with pytest.raises((BeartypeCallHintViolation, TypeCheckError)):
        call()


SHAPES = ("a b", "b a", "a a", "3 a", "_ a", "", "*n a", "a *n", "*n", "... a", "*n a b", "#a b")
SIZES = ((), (3,), (2,), (2, 3), (3, 2), (3, 3), (1, 3), (2, 2, 3))
ARRAYS = [torch.zeros(sizes, dtype=t) for sizes in SIZES for t in (torch.float32, torch.int64)]


def test_arrays_are_checked_as_jaxtyping_checks_them():
    """Two arrays in one call, of which the first may settle the sizes for the second."""
    kinds: tuple[Any, ...] = (Float, Shaped)
    hints = [kind[torch.Tensor, shape] for kind in kinds for shape in SHAPES]
    # once more: arrays that were accepted take the short way
    pairs = 2 * list(product_of(hints, ARRAYS))
    for (first, one), (second, other) in zip(pairs, pairs[7::5] + pairs[:7], strict=False):
        found = []
        for check in (quick_shapes.is_array, quick_shapes._check_whole):
            with jaxtyped("context"):
                found.append((check(first, one), check(second, other)))
        assert found[0] == found[1], (first, one.shape, second, other.shape)


def test_functions_and_dataclasses_of_the_package_are_checked():
    weights = tiny_models.weights("gpt2")
    assert embed(weights, torch.zeros(2, 3, dtype=torch.int64)).shape == (2, 3, weights.d_model)
    with pytest.raises(BeartypeCallHintViolation):
        embed(weights, torch.zeros(2, 3))
    with pytest.raises(BeartypeCallHintViolation):
        embed(weights, torch.zeros(3, dtype=torch.int64))
    with pytest.raises(BeartypeCallHintViolation):
        Topology(n_layers="1", n_heads=2, has_mlp=True)  # pyright: ignore
