"""Where the parts of a Hugging Face model are: names that tests give, and the modules found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Layer:
    """Names of modules below a decoder layer; modules that a layer lacks are passed over.

    Parts are `a` (attention heads), `r` (mixer) and `m` (MLP).

    Args:
        reads: the modules whose input is the residual stream, in order of computation, with the
            parts that read there: norms, or the parts themselves where there is no norm.
        writes: the modules whose output is added to the residual stream, with their parts. Heads
            write through `output`.
        output: the projection that maps the results of all heads to the residual stream.
        joined: the module whose input are the results of all heads; by default `output` itself.
        after_heads: a norm between `output` and the residual stream, one factor per dimension.
        spans: RMS norms that span the queries or the keys of all heads.
        method: a method of the attention module that is called with query, key and value, for
            families without `eager_attention_forward`.
        split: one that returns query, key and value, likewise.
        projections: parts of the attention module that return keys and values, or all in blocks,
            likewise.
        rereads: further modules that read the same as a part that `reads` names.
        parallel: whether all parts of the layer read the stream as it was before the layer.
    """

    reads: Mapping[str, str] = field(
        default_factory=lambda: {"input_layernorm": "a", "post_attention_layernorm": "m"}
    )
    writes: Mapping[str, str] = field(default_factory=lambda: {"mlp": "m"})
    output: str = "self_attn.o_proj"
    joined: str = ""
    after_heads: str = ""
    spans: tuple[str, ...] = ()
    method: str = ""
    split: str = ""
    projections: tuple[str, ...] = ()
    rereads: Mapping[str, str] = field(default_factory=dict)
    parallel: bool = False


@dataclass(frozen=True)
class Family:
    """Where the parts of a model are.

    Args:
        layer: names in every layer, or a function of the layer's index and the config.
        layers, final: the list of layers and the final norm.
        unused: a module that layers have which the model passes over; they are not counted.
        scale: the factor on what parts write before it is added to the stream, or one for each
            kind of part.
        stream: constants of a layer: x = first * x + second * what attention or mixer wrote, then
            x = third * x + fourth * what the MLP wrote. Nodes write their share of x divided by
            all factors on x so far.
        query_heads: the number of query heads of the config that make one head.
    """

    layer: Layer | Callable[[int, Any], Layer] = Layer()
    layers: str = "model.layers"
    final: str = "model.norm"
    unused: str = ""
    scale: Callable[[Any], float | Mapping[str, float]] = lambda config: 1.0
    stream: Callable[[Any], tuple[float, float, float, float]] = lambda layer: (1.0, 1.0, 1.0, 1.0)
    query_heads: int = 1

    def decoder_layers(self, model: nn.Module) -> list[nn.Module]:
        """The layers that the model uses."""
        layers = list(model.get_submodule(self.layers).children())
        return [one for one in layers if not self.unused or _find(one, self.unused) is None]

    def scales(self, config: Any) -> Mapping[str, float]:
        """By kind of part, the factor on what it writes."""
        scale = self.scale(config)
        return scale if isinstance(scale, Mapping) else dict.fromkeys("arm", scale)


@dataclass(frozen=True)
class LayerParts:
    """A decoder layer and the modules in it that `Layer` names."""

    module: nn.Module
    index: int
    names: Layer
    reads: list[tuple[nn.Module, str]]
    writes: list[tuple[nn.Module, str]]
    output: nn.Module | None
    rereads: list[tuple[nn.Module, str]]

    @classmethod
    def of(cls, module: nn.Module, names: Any, index: int, config: Any) -> LayerParts:
        if not isinstance(names, Layer):
            names = names(index, config)
        writes = [(found, part) for found, part in _find_all(module, names.writes)]
        output = _find(module, names.output)
        present = {part for _, part in writes} | ({"a"} if output is not None else set())
        reads = []
        for found, parts in _find_all(module, names.reads):
            here = "".join(part for part in parts if part in present)
            if here:
                reads.append((found, here))
        assert sorted("".join(parts for _, parts in reads)) == sorted(present), (
            f"layer {index}: not every part reads and writes"
        )
        return cls(module, index, names, reads, writes, output, [*_find_all(module, names.rereads)])

    @property
    def attention(self) -> nn.Module:
        return self.module.get_submodule(self.names.output.rpartition(".")[0])

    @property
    def steps(self) -> list[str]:
        steps = [parts for _, parts in self.reads]
        return ["".join(steps)] if self.names.parallel else steps


def _find(module: nn.Module, name: str) -> nn.Module | None:
    try:
        return module.get_submodule(name)
    except AttributeError:
        return None


def _find_all(module: nn.Module, names: Mapping[str, str]) -> Iterator[tuple[nn.Module, str]]:
    for name, parts in names.items():
        found = _find(module, name)
        if found is not None:
            yield found, parts
