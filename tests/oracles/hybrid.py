"""Random models whose layers differ in their parts, and their forward pass written out plainly.

Every receiver's input is a sum over sources, attention goes query by query, and a mixer's state is
a sum over all earlier positions. The engine is not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from acdc_pipeline.models.weights import Attention, Block, Mixer, Mlp, Norm, TransformerWeights
from acdc_pipeline.prompts.prompt_set import PromptSet
from tests.oracles.edge_gates import Gates

VOCAB = 11
WIDTH = 8
HEAD = 3
N_HEADS = 2


class MovingAverage(nn.Module):
    """A gated exponential moving average over positions: a small state space model."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.w_in, self.w_gate, self.w_out = (
            nn.Parameter(_random(generator, *shape), requires_grad=False)
            for shape in ((WIDTH, 5), (WIDTH, 5), (5, WIDTH))
        )
        self.decay = nn.Parameter(
            torch.rand(5, generator=generator, dtype=torch.float64), requires_grad=False
        )

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        u = torch.tanh(x @ self.w_in)
        state, states = torch.zeros_like(u[:, 0]), []
        for position in range(u.shape[1]):
            state = self.decay * state + (1 - self.decay) * u[:, position]
            states.append(state)
        mixed = torch.stack(states, dim=1)
        return (mixed * torch.sigmoid(x @ self.w_gate)) @ self.w_out, None


def hybrid_weights(
    layers: Sequence[str],
    *,
    seed: int = 0,
    parallel: bool = False,
    norm: str = "rms",
    post: bool = False,
    bias: bool = False,
) -> TransformerWeights:
    """A random model in float64 with those parts in each layer.

    Args:
        layers: the letters of the parts, see `Topology`.
        norm: `rms`, `layer` or `none`.
        post: whether RMS norms follow each part, which couples the heads of a layer.
        bias: whether attention has an output bias.
    """
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return _random(generator, *shape)

    def normed(kind: str = norm) -> Norm:
        weight = None if kind == "none" else 1 + 0.2 * random(WIDTH)
        return Norm(kind, weight, random(WIDTH) if kind == "layer" else None, 1e-5)  # pyright: ignore

    def attention() -> Attention:
        return Attention(
            w_q=random(N_HEADS, WIDTH, HEAD),
            w_k=random(N_HEADS, WIDTH, HEAD),
            w_v=random(N_HEADS, WIDTH, HEAD),
            w_o=random(N_HEADS, HEAD, WIDTH),
            b_q=random(N_HEADS, HEAD), b_k=None, b_v=None,
            b_o=random(WIDTH) if bias else None,
            scale=HEAD**-0.5, rotary=None, direction="causal",
        )  # fmt: skip

    blocks = []
    for parts in layers:
        block = Block(normed() if parts != "m" else normed("none"), None, None, None)
        after = normed("rms") if post else None
        if "a" in parts:
            block = replace(block, attn=attention(), post_attn=after)
        if "r" in parts:
            mixer = Mixer(MovingAverage(generator), 15 * WIDTH, 15, "moving average", scale=0.8)
            block = replace(block, mixer=mixer, post_mixer=normed("rms") if post else None)
        if "m" in parts:
            mlp = Mlp(random(WIDTH, 6), random(6), None, random(6, WIDTH), random(WIDTH), "silu")
            block = replace(
                block, mlp=mlp, norm_mlp=normed(), post_mlp=normed("rms") if post else None
            )
        blocks.append(block)
    return TransformerWeights(
        w_e=random(VOCAB, WIDTH), w_pos=random(12, WIDTH), blocks=tuple(blocks),
        norm_final=normed(), w_u=random(WIDTH, VOCAB), b_u=None, parallel=parallel, n_ctx=12,
    )  # fmt: skip


class PlainHybrid:
    """The model on prompts, any set of edges removed or gated.

    Args:
        prompts: answers are read at the last token of each.
        ablation: `corrupted` or `zero`.
    """

    gates: Gates | None = None

    def __init__(
        self, weights: TransformerWeights, prompts: PromptSet, ablation: str = "corrupted"
    ) -> None:
        self.w, self.prompts = weights, prompts
        self.shares: dict[str, Tensor] = {}
        self.ablated: dict[str, Tensor] = {}
        self.ablated = self.run(prompts.corrupted, frozenset())[1]
        if ablation == "zero":
            self.ablated = {name: torch.zeros_like(out) for name, out in self.ablated.items()}
        self.model = self.logprobs(frozenset())

    def clean_outputs(self) -> dict[str, Tensor]:
        return self.run(self.prompts.clean, frozenset())[1]

    def logprobs(self, removed: frozenset[str] | set[str]) -> Tensor:
        final = self.run(self.prompts.clean, removed)[0]
        return self._at_answers(final)

    def kl(self, removed: set[str]) -> float:
        circuit = self.logprobs(removed)
        return float((self.model.exp() * (self.model - circuit)).sum(-1).mean())

    def gated(self, gates: Gates) -> Tensor:
        """Log-probabilities where receivers read more, see `EdgeGates`."""
        self.gates = gates
        out = self.logprobs(frozenset())
        self.gates = None
        return out

    def shared(self, shares: dict[str, Tensor]) -> Tensor:
        """Log-probabilities with a gate between 0 and 1 on each edge."""
        self.shares = shares
        out = self.logprobs(frozenset())
        self.shares = {}
        return out

    def run(
        self, tokens: Tensor, removed: frozenset[str] | set[str]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The final stream, and what every source wrote."""
        assert self.w.w_pos is not None
        written = {"input": self.w.w_e[tokens] + self.w.w_pos[: tokens.shape[1]]}
        constant = torch.zeros(WIDTH, dtype=torch.float64)
        for layer, block in enumerate(self.w.blocks):
            before, at_start = dict(written), constant

            def read(receiver: str, sources: dict[str, Tensor], base: Tensor) -> Tensor:
                return self._received(receiver, sources, base, removed)

            if block.attn is not None:
                heads = {}
                for h in range(N_HEADS):
                    x = [read(f"a{layer}.h{h}<{slot}>", before, at_start) for slot in "qkv"]
                    heads[f"a{layer}.h{h}"] = _head(
                        block, h, [_norm(part, block.norm_attn) for part in x]
                    )
                if block.post_attn is not None:
                    total = sum(heads.values())
                    assert isinstance(total, Tensor)
                    assert block.post_attn.weight is not None
                    root = (total.pow(2).mean(-1, keepdim=True) + block.post_attn.eps).sqrt()
                    heads = {
                        name: out * block.post_attn.weight / root for name, out in heads.items()
                    }
                written.update(heads)
                if block.attn.b_o is not None:
                    constant = constant + block.attn.b_o
            if block.mixer is not None:
                x = _norm(read(f"r{layer}", before, at_start), block.norm_attn)
                out = 0.8 * _moving_average(block.mixer.module, x)
                written[f"r{layer}"] = (
                    out if block.post_mixer is None else _norm(out, block.post_mixer)
                )
            if block.mlp is not None:
                sources = (before, at_start) if self.w.parallel else (dict(written), constant)
                assert block.norm_mlp is not None
                assert isinstance(block.mlp, Mlp)
                x = _norm(read(f"m{layer}", *sources), block.norm_mlp)
                out = _mlp(block.mlp, x)
                written[f"m{layer}"] = out if block.post_mlp is None else _norm(out, block.post_mlp)
        return self._received("logits", written, constant, removed), written

    def _received(
        self,
        receiver: str,
        sources: dict[str, Tensor],
        constant: Tensor,
        removed: frozenset[str] | set[str],
    ) -> Tensor:
        total = constant
        for source, out in sources.items():
            edge = f"{source}->{receiver}"
            carried = self.ablated[source] if edge in removed else out
            if edge in self.shares:
                carried = self.ablated[source] + self.shares[edge] * (out - self.ablated[source])
            total = total + carried
        return total if self.gates is None else total + self.gates.added(receiver, sources)

    def _at_answers(self, final: Tensor) -> Tensor:
        rows = torch.arange(len(final))
        at = final[rows, self.prompts.lengths - 1]
        return (_norm(at, self.w.norm_final) @ self.w.w_u).log_softmax(-1)


def _random(generator: torch.Generator, *shape: int) -> Tensor:
    scale = shape[-2] ** -0.5 if len(shape) > 1 else 0.5
    return 1.5 * scale * torch.randn(*shape, generator=generator, dtype=torch.float64)


def _norm(x: Tensor, norm: Norm) -> Tensor:
    if norm.kind == "none":
        return x
    if norm.kind == "layer":
        x = x - x.mean(-1, keepdim=True)
    assert norm.weight is not None
    scaled = x / (x.pow(2).mean(-1, keepdim=True) + norm.eps).sqrt() * norm.weight
    return scaled if norm.bias is None else scaled + norm.bias


def _head(block: Block, h: int, x: list[Tensor]) -> Tensor:
    attn = block.attn
    assert attn is not None
    assert attn.b_q is not None
    q, k, v = x[0] @ attn.w_q[h] + attn.b_q[h], x[1] @ attn.w_k[h], x[2] @ attn.w_v[h]
    mixed = []
    for query in range(q.shape[1]):
        scores = (q[:, query, None] * k[:, : query + 1]).sum(-1) * HEAD**-0.5
        weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
        mixed.append((weights[..., None] * v[:, : query + 1]).sum(1))
    return torch.stack(mixed, dim=1) @ attn.w_o[h]


def _moving_average(module: nn.Module, x: Tensor) -> Tensor:
    assert isinstance(module, MovingAverage)
    u = (x @ module.w_in).tanh()
    out = []
    for position in range(x.shape[1]):
        age = position - torch.arange(position + 1)
        share = (1 - module.decay) * module.decay ** age[:, None]
        mixed = (share * u[:, : position + 1]).sum(1)
        gate = 1 / (1 + (-(x[:, position] @ module.w_gate)).exp())
        out.append((mixed * gate) @ module.w_out)
    return torch.stack(out, dim=1)


def _mlp(mlp: Mlp, x: Tensor) -> Tensor:
    assert mlp.b_in is not None
    assert mlp.b_out is not None
    pre = x @ mlp.w_in + mlp.b_in
    return (pre / (1 + (-pre).exp())) @ mlp.w_out + mlp.b_out
