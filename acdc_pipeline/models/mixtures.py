"""Split mixtures of experts, so that every expert is a node of the graph.

Nearly all mixtures of transformers call a module `experts` with the tokens, the experts chosen for
each, and their weights. Copies of the mixture in which another module is in its place give the
routing (the arguments of the call) and what the mixture writes beside its experts. All parameters
are shared with the model. A probe compares the sum of the parts with the mixture itself.
"""

from __future__ import annotations

import copy
from dataclasses import fields, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from acdc_pipeline.errors import UnsupportedModel
from acdc_pipeline.models.describe import ONE_NODE_PER_MIXTURE, no_mixture
from acdc_pipeline.models.load import LoadedModel
from acdc_pipeline.models.mapped import MappedBlocks
from acdc_pipeline.models.own_modules import Mixture, TokenModule
from acdc_pipeline.models.weights import Block, TransformerWeights
from acdc_pipeline.specs.names import Experts

_NAME = "experts"
_PROBE_TOKENS = 16

# Relative to the largest value: the same sums in another order.
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}


def with_experts(model: LoadedModel, experts: Experts) -> LoadedModel:
    """Return a model whose mixtures are one node each (`layer`), or split (`nodes`).

    Raises UnsupportedModel as `split_experts`.
    """
    if experts == "layer":
        return model
    try:
        return replace(model, weights=split_experts(model.weights))
    except UnsupportedModel as error:
        raise error.at(str(model.ref))  # noqa: B904  (the same error)


def split_experts(weights: TransformerWeights) -> TransformerWeights:
    """Return the model with every expert of its mixtures as a node. No parameter is copied.

    Raises:
        UnsupportedModel: it has no mixture, or one that cannot be split; the error names the layer
            and the reason.
    """
    if isinstance(weights.blocks, MappedBlocks):
        raise UnsupportedModel(
            "experts cannot be nodes of a model whose layers are read when they are computed",
            fix="use a memory budget that holds its weights (--memory), and one device",
        )
    blocks = []
    for layer, block in enumerate(weights.blocks):
        try:
            blocks.append(_split_block(block, weights.d_model))
        except _NotSplit as reason:
            raise UnsupportedModel(
                f"the mixture of layer {layer} cannot be split into experts: {reason}",
                fix=ONE_NODE_PER_MIXTURE,
            ) from None
    if not any(isinstance(block.mlp, Mixture) for block in blocks):
        raise no_mixture()
    return replace(weights, blocks=tuple(blocks))


def has_experts(block: Block) -> bool:
    """Whether the MLP of a block is a mixture of experts."""
    part = block.mlp
    return isinstance(part, TokenModule) and any(
        _NAME in name.split(".") for name, _ in part.module.named_parameters()
    )


def find_router(block: Block, d_model: int) -> tuple[Router, int] | None:
    """Return the routing of a block's mixture and the number of its experts.

    None if it has no mixture, or one whose routing cannot be read.
    """
    part = block.mlp
    if not has_experts(block) or not isinstance(part, TokenModule):
        return None
    try:
        path, experts = _find_experts(part)
        router = Router(_with(part.module, path, _Catch(experts)))
        with torch.no_grad():
            _check_routing(router, _probe(experts, d_model))
    except _NotSplit:
        return None
    return router, _count(experts)


class _NotSplit(Exception):
    """The reason why a mixture cannot be split."""


def _split_block(block: Block, d_model: int) -> Block:
    part = block.mlp
    if not has_experts(block) or not isinstance(part, TokenModule) or isinstance(part, Mixture):
        return block
    if block.post_mlp is not None:
        raise _NotSplit("a norm follows it, so that what one expert adds depends on all others")
    return replace(block, mlp=_split(part, d_model))


def _split(part: TokenModule, d_model: int) -> Mixture:
    path, experts = _find_experts(part)
    router = Router(_with(part.module, path, _Catch(experts)))
    rest = _with(part.module, path, _Silent(experts))
    probe = _probe(experts, d_model)
    with torch.no_grad():
        index, chosen = _check_routing(router, probe)
        beside = _output(rest(probe[None])).reshape(probe.shape)
        whole = _output(part.module(probe[None])).reshape(probe.shape)
        routed = experts(probe, index, chosen)
        router.scale = _factor(whole - beside, routed)
        total = experts(probe, *router(probe[None])) + beside
    if not bool(((whole - total).abs() <= _TOLERANCE[probe.dtype] * whole.abs().max()).all()):
        raise _NotSplit("its output is not the sum of its experts and of what is beside them")
    return Mixture(
        **{field.name: getattr(part, field.name) for field in fields(part)},
        router=router,
        experts=experts,
        rest=rest,
        n_experts=_count(experts),
        shared=bool(beside.any()),
    )


def _find_experts(part: TokenModule) -> tuple[str, nn.Module]:
    """The name of the module of a mixture's experts, and the module."""
    found = [name for name, _ in part.module.named_modules() if name.split(".")[-1] == _NAME]
    if len(found) != 1 or isinstance(part.module.get_submodule(found[0]), nn.ModuleList):
        raise _NotSplit(f"its experts are not one module of the name '{_NAME}'")
    return found[0], part.module.get_submodule(found[0])


def _probe(experts: nn.Module, d_model: int) -> Float[Tensor, "token d_model"]:
    """Random tokens, the same ones each time."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(_PROBE_TOKENS, d_model, generator=generator, dtype=torch.float64)
    return drawn.to(next(experts.parameters()))


def _check_routing(
    router: Router, probe: Float[Tensor, "token d_model"]
) -> tuple[Int[Tensor, "token choice"], Float[Tensor, "token choice"]]:
    """Return the routing of some tokens. Raises _NotSplit if it is not of the known form."""
    try:
        read, index, chosen = router.call(probe[None])
    except ValueError:
        raise _NotSplit(
            "its experts are not called with tokens, the experts chosen for each, and weights"
        ) from None
    if read.shape != probe.shape or not torch.equal(read, probe):
        raise _NotSplit("its experts read something else than the mixture does")
    if index.shape != chosen.shape or len(index) != len(probe) or index.dim() != 2:
        raise _NotSplit("its weights are not one for each expert chosen for a token")
    ordered = index.sort(-1).values
    if bool((ordered[:, 1:] == ordered[:, :-1]).any()):
        raise _NotSplit("a token may choose an expert twice")
    return index, chosen


def _factor(added: Float[Tensor, "token d_model"], routed: Float[Tensor, "token d_model"]) -> float:
    """The constant that a mixture multiplies the sum of its experts by."""
    wide, narrow = added.double(), routed.double()
    factor = float((wide * narrow).sum() / narrow.square().sum())
    return 1.0 if abs(factor - 1.0) < _TOLERANCE[routed.dtype] else factor


def _count(experts: Any) -> int:
    """The number of experts: an attribute, or the first axis of their matrices."""
    count = getattr(experts, "num_experts", None)
    return int(next(experts.parameters()).shape[0] if count is None else count)


def _with(module: nn.Module, path: str, other: nn.Module) -> nn.Module:
    """Return `module` with `other` at `path`; all else is shared."""
    name, _, rest = path.partition(".")
    changed = copy.copy(module)
    changed._modules = dict(module._modules)
    changed._modules[name] = _with(module.get_submodule(name), rest, other) if rest else other
    return changed


class _Stand(nn.Module):
    """A module in the place of the experts, whose attributes it has."""

    def __init__(self, experts: nn.Module) -> None:
        super().__init__()
        self._experts = (experts,)  # in a tuple: its parameters do not count as those of this one

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.__dict__["_experts"][0], name)


class _Called(Exception):
    """The experts are called with these arguments."""

    def __init__(self, given: tuple[Any, ...]) -> None:
        super().__init__()
        self.given = given


class _Catch(_Stand):
    """Ends the forward pass of the mixture where its experts are called."""

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        raise _Called((*args, *kwargs.values()))


class _Silent(_Stand):
    """Experts that write nothing."""

    def forward(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        return torch.zeros_like(x)


class Router(nn.Module):
    """The routing of a mixture, computed by the mixture itself up to the call of its experts.

    Attributes:
        scale: factor on the weights, of a mixture that multiplies the sum of its experts.
    """

    def __init__(self, mixture: nn.Module) -> None:
        super().__init__()
        self.mixture = mixture
        self.scale = 1.0

    def forward(self, x: Float[Tensor, "1 token d_model"]) -> tuple[Tensor, Tensor]:
        """Return the experts chosen for each token and their weights, `[token, choice]`."""
        _, index, chosen = self.call(x)
        return index, chosen if self.scale == 1.0 else self.scale * chosen

    def call(self, x: Float[Tensor, "1 token d_model"]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the arguments of the experts. Raises ValueError if these are not three tensors."""
        try:
            self.mixture(x)
        except _Called as call:
            if len(call.given) == 3 and all(isinstance(part, Tensor) for part in call.given):
                return call.given
        raise ValueError("the experts are not called with three tensors")


def _output(result: Any) -> Tensor:
    return result[0] if isinstance(result, tuple) else result
