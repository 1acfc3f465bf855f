"""The forms in which layouts store matrices, and their conversion to TransformerLens's.

A form takes a tensor and the number of query heads, which some forms ignore. One of fused
queries, keys and values returns three tensors in this order. Each form refuses a tensor of
another number of dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from acdc_pipeline.errors import InvalidInput

Form = Callable[[Tensor, int], Tensor | tuple[Tensor, ...]]


def same(tensor: Tensor, _n_heads: int) -> Tensor:
    """Return the tensor itself."""
    return tensor


def without_batch(tensor: Tensor, _n_heads: int) -> Tensor:
    """[1, n, m] to [n, m]: a parameter stored with a batch dimension."""
    return _of_dims(tensor, 3).flatten(0, 1)


def transposed(tensor: Tensor, _n_heads: int) -> Tensor:
    """[n, m] to [m, n]."""
    return _of_dims(tensor, 2).T


def heads_transposed(tensor: Tensor, _n_heads: int) -> Tensor:
    """[head, n, m] to [head, m, n]."""
    return _of_dims(tensor, 3).transpose(1, 2)


def split_rows(tensor: Tensor, n_heads: int) -> Tensor:
    """[(head d_head), d_model] to [head, d_model, d_head]: queries, keys or values of a Linear."""
    return _split(_of_dims(tensor, 2), n_heads).transpose(1, 2)


def split_bias(tensor: Tensor, n_heads: int) -> Tensor:
    """[(head d_head)] to [head, d_head]."""
    return _split(_of_dims(tensor, 1), n_heads)


def split_output(tensor: Tensor, n_heads: int) -> Tensor:
    """[d_model, (head d_head)] to [head, d_head, d_model]: a Linear on the heads side by side."""
    return _split(_of_dims(tensor, 2).T, n_heads)


def split_output_columns(tensor: Tensor, n_heads: int) -> Tensor:
    """[(head d_head), d_model] to [head, d_head, d_model]: the same as a Conv1D of GPT-2."""
    return _split(_of_dims(tensor, 2), n_heads)


def split_fused_rows(tensor: Tensor, n_heads: int) -> tuple[Tensor, ...]:
    """[(3 head d_head), d_model] to three of [head, d_model, d_head]: one Linear for all."""
    return tuple(split_rows(part, n_heads) for part in _thirds(_of_dims(tensor, 2)))


def split_fused_columns(tensor: Tensor, n_heads: int) -> tuple[Tensor, ...]:
    """[d_model, (3 head d_head)] to three of [head, d_model, d_head]: a Conv1D of GPT-2."""
    return split_fused_rows(_of_dims(tensor, 2).T, n_heads)


def split_fused_bias(tensor: Tensor, n_heads: int) -> tuple[Tensor, ...]:
    """[(3 head d_head)] to three of [head, d_head]."""
    return tuple(split_bias(part, n_heads) for part in _thirds(_of_dims(tensor, 1)))


def shape_of(tensors: Mapping[str, Tensor], name: str, dims: int) -> tuple[int, ...]:
    """Return the shape of a tensor. Raises InvalidInput if it is absent or has other `dims`."""
    if name not in tensors:
        raise InvalidInput(f"the checkpoint has no {name}")
    if tensors[name].dim() != dims:
        shape = list(tensors[name].shape)
        raise InvalidInput(f"has the shape {shape}, not {dims} dimensions", field=name)
    return tuple(tensors[name].shape)


def _of_dims(tensor: Tensor, dims: int) -> Tensor:
    if tensor.dim() != dims:
        raise InvalidInput(f"has the shape {list(tensor.shape)}, not {dims} dimensions")
    return tensor


def _thirds(tensor: Tensor) -> tuple[Tensor, ...]:
    if tensor.shape[0] % 3:
        raise InvalidInput(
            f"{tensor.shape[0]} is not a multiple of 3, for queries, keys and values in one tensor"
        )
    return tensor.chunk(3)


def _split(tensor: Tensor, n_heads: int) -> Tensor:
    width = tensor.shape[0]
    if width % n_heads:
        divisors = [str(n) for n in range(1, width + 1) if width % n == 0]
        raise InvalidInput(
            f"{width} is not a multiple of {n_heads} heads",
            fix=f"give --n-heads a number that divides {width}: {', '.join(divisors)}",
        )
    return tensor.unflatten(0, (n_heads, -1))
