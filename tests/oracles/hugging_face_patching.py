"""Edge patching by brute force on the Hugging Face model itself, for any family described to it.

Nothing is shared with the engine or with TransformerLens: all arithmetic is the model's own, and
hooks change only what its parts read. The model runs on many copies of each
prompt, and every receiver of a layer reads its stream in a copy of its own: head h has a copy for
its query, one for its key and one for its value, the MLP and the mixer have one each. Where the
attention is computed, the copy of the query takes the keys and the values of the other two. What
a head computed in its copy is put together with the other heads in front of the output projection,
and what an MLP or a mixer computed in its copy is given to all copies: the residual streams of all
copies stay equal, and equal to that of the circuit.

Several circuits are run at once, in further copies. An edge `source->receiver@span` is removed at
the positions of that span, given as a mask [prompt pos] by its name.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from tests.float64 import Float64Throughout
from tests.oracles.edge_gates import Added
from tests.oracles.hugging_face_parts import Family, LayerParts


class HuggingFacePatching:
    """Logits of circuits at the last position, in eager attention and the model's own dtype."""

    def __init__(
        self,
        model: Any,
        family: Family,
        clean: Tensor,
        corrupted: Tensor,
        ablation: str = "corrupted",
        spans: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.spans = spans or {}
        self.model = model.eval().requires_grad_(False)
        self.clean, self.corrupted = clean, corrupted
        self.config = model.config.get_text_config()
        self.n_heads: int = self.config.num_attention_heads // family.query_heads
        self.final = model.get_submodule(family.final)
        self.layers = [
            LayerParts.of(module, family.layer, index, self.config)
            for index, module in enumerate(family.decoder_layers(model))
        ]
        # By layer and part, the factor on the stream where it reads, and on what it writes.
        self.read_scales: list[dict[str, float]] = []
        self.write_scales: list[dict[str, float]] = []
        scales, self.final_scale = family.scales(self.config), 1.0
        for layer in self.layers:
            before, first, between, second = family.stream(layer.module)
            at_heads, at_mlp = self.final_scale, self.final_scale * before
            self.final_scale = at_mlp * between
            self.read_scales.append({"a": at_heads, "r": at_heads, "m": at_mlp})
            self.write_scales.append(
                {part: scales[part] * first / at_mlp for part in "ar"}
                | {"m": scales["m"] * second / self.final_scale}
            )
        self.ablated: dict[str, Tensor] = {}
        with torch.no_grad():
            self.ablated = self._run(corrupted, [set()])[1]
        if ablation == "zero":
            self.ablated = {name: torch.zeros_like(out) for name, out in self.ablated.items()}
        if ablation == "mean":
            self.ablated = {n: o.mean(0, keepdim=True) for n, o in self.ablated.items()}
        self.model_logits = self.logits([set()])[0]

    @property
    def steps(self) -> list[list[str]]:
        """By layer, the groups of parts that read the same stream, in order of computation."""
        return [layer.steps for layer in self.layers]

    def logits(self, removed: Sequence[Collection[str]]) -> Tensor:
        """Logits [circuit prompt vocab] with each of these sets of edges removed in turn."""
        with torch.no_grad():
            return self._run(self.clean, removed)[0]

    def kl(self, removed: Collection[str]) -> float:
        """KL(model ‖ circuit) in nats, mean over prompts."""
        return self.kl_of_all([removed])[0]

    def kl_of_all(self, removed: Sequence[Collection[str]]) -> list[float]:
        """KL(model ‖ circuit) in nats, mean over prompts, for each set of removed edges."""
        model = self.model_logits.log_softmax(-1)
        circuits = self.logits(removed).log_softmax(-1)
        return (model.exp() * (model - circuits)).sum(-1).mean(-1).tolist()

    def clean_outputs(self) -> dict[str, Tensor]:
        """What every source writes in the whole model."""
        return self._run(self.clean, [set()])[1]

    def gated(self, gates: Added) -> Tensor:
        """Log-probabilities where receivers read what `gates` add."""
        return self.gated_logits(gates).log_softmax(-1)

    def gated_logits(self, gates: Added) -> Tensor:
        return self._run(self.clean, [set()], gates)[0][0]

    def _new_run(
        self, removed: Sequence[Collection[str]], n_prompts: int, gates: Added | None
    ) -> Run:
        return Run(self, removed, n_prompts, gates)

    def _run(
        self, tokens: Tensor, removed: Sequence[Collection[str]], gates: Added | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        run = self._new_run(removed, len(tokens), gates)
        rows = tokens.repeat(len(removed) * run.n_copies, 1)
        with run.hooked(), Float64Throughout():
            logits = self.model(input_ids=rows, use_cache=False).logits
        # Outputs are of interest where nothing is removed.
        written = {name: out[0] for name, out in run.written.items()}
        return run.unfold(logits)[:, 0, :, -1], written


class Run:
    """One forward: what every source has written so far, [circuit prompt pos d_model]."""

    def __init__(
        self,
        patching: HuggingFacePatching,
        removed: Sequence[Collection[str]],
        n_prompts: int,
        gates: Added | None,
    ) -> None:
        self.patching = patching
        self.n_heads = patching.n_heads
        self.shape = (len(removed), self.n_copies, n_prompts)
        self.gates = gates
        self.written: dict[str, Tensor] = {}
        self.removed: dict[str, dict[str, Tensor]] = {}
        for index, circuit in enumerate(removed):
            for edge in circuit:
                source, _, place = edge.partition("->")
                receiver, _, span = place.partition("@")
                rows = patching.spans[span][..., None] if span else torch.ones(1, 1, 1)
                masks = self.removed.setdefault(receiver, {})
                mask = masks.setdefault(source, torch.zeros(len(removed), *rows.shape))
                mask[index] += rows

    @property
    def n_copies(self) -> int:
        """Query, key and value of every head, mixer, MLP."""
        return 3 * self.n_heads + 2

    def copy_of(self, part: str) -> int:
        return {"r": 3 * self.n_heads, "m": 3 * self.n_heads + 1}[part]

    def receivers_of(self, part: str, layer: LayerParts) -> list[tuple[str, int]]:
        """The receivers of a mixer or an MLP, and their copies."""
        return [(f"{part}{layer.index}", self.copy_of(part))]

    def unfold(self, rows: Tensor) -> Tensor:
        """[circuit copy prompt pos ...]: some modules flatten prompts and positions."""
        pos = rows.numel() // (self.shape[0] * self.shape[1] * self.shape[2] * rows.shape[-1])
        return rows.reshape(*self.shape, pos, rows.shape[-1])

    def spread(self, one: Tensor) -> Tensor:
        """The same [circuit prompt pos ...] in all copies."""
        return one.unsqueeze(1).expand(-1, self.n_copies, *[-1] * (one.dim() - 1))

    @contextmanager
    def hooked(self) -> Iterator[None]:
        with ExitStack() as stack:
            layers = self.patching.layers

            def before(module: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
                stack.callback(change_input(module, change).remove)

            def after(module: nn.Module, change: Callable[[Tensor, Tensor], Tensor]) -> None:
                stack.callback(change_output(module, change).remove)

            before(layers[0].module, self._keep_input)
            before(self.patching.final, self._read_logits)
            for layer in layers:
                for module, parts in (*layer.reads, *layer.rereads):
                    before(module, lambda x, at=layer, parts=parts: self._read(x, at, parts))
                for module, part in layer.writes:
                    self._keep_written(stack, module, part, layer)
                if layer.output is None:
                    continue
                joined = layer.module.get_submodule(layer.names.joined or layer.names.output)
                before(joined, self._join)
                before(layer.output, lambda x, at=layer: self._write_heads(x, at))
                for span in layer.names.spans:
                    after(layer.module.get_submodule(span), self._share_norm(span))
                if layer.names.after_heads:
                    norm = layer.module.get_submodule(layer.names.after_heads)
                    after(norm, lambda x, out, at=layer: self._scale_heads(x, out, at))
                stack.enter_context(self._mixing(layer))
            yield

    def _keep_written(
        self, stack: ExitStack, module: nn.Module, part: str, layer: LayerParts
    ) -> None:
        name = f"{part}{layer.index}"
        stack.callback(change_output(module, lambda _, out: self._write(out, name)).remove)

    def _keep_input(self, x: Tensor) -> Tensor:
        self.written["input"] = self.unfold(x)[:, 0]
        return x

    def _change(self, receiver: str) -> Tensor | float:
        """What removed edges add to the input of `receiver`."""
        total: Tensor | float = 0.0
        if self.gates is not None:
            total = self.gates.added(receiver, self.written)
        for source, mask in self.removed.get(receiver, {}).items():
            step = self.patching.ablated[source] - self.written[source]
            total = total + mask.to(step.dtype) * step
        return total

    def _read(self, x: Tensor, layer: LayerParts, parts: str) -> Tensor:
        copies = list(self.unfold(x).unbind(1))
        for part in parts:
            scale = self.patching.read_scales[layer.index][part]
            if part == "a":
                for h in range(self.n_heads):
                    for i, slot in enumerate("qkv"):
                        change = self._change(f"a{layer.index}.h{h}<{slot}>")
                        copies[3 * h + i] = copies[3 * h + i] + scale * change
            else:
                for receiver, copy in self.receivers_of(part, layer):
                    copies[copy] = copies[copy] + scale * self._change(receiver)
        return torch.stack(copies, 1).reshape(x.shape)

    def _read_logits(self, x: Tensor) -> Tensor:
        if "input" not in self.written:  # nanochat has its final norm at the start as well
            return x
        change = self.patching.final_scale * self._change("logits")
        return self.spread(self.unfold(x)[:, 0] + change).reshape(x.shape)

    def _write(self, out: Tensor, name: str) -> Tensor:
        own = self.unfold(out)[:, self.copy_of(name[0])]
        # Two modules may write as one part: experts, and an MLP that all tokens pass.
        scale = self.patching.write_scales[int(name[1:])][name[0]]
        self.written[name] = scale * own + self.written.get(name, 0.0)
        return self.spread(own).reshape(out.shape)

    def _join(self, z: Tensor) -> Tensor:
        """Of each head what it computed in the copy of its query."""
        by_head = self.unfold(z).unflatten(-1, (self.n_heads, -1))
        own = [by_head[:, 3 * h, ..., h, :] for h in range(self.n_heads)]
        return self.spread(torch.cat(own, -1)).reshape(z.shape)

    def _write_heads(self, z: Tensor, layer: LayerParts) -> Tensor:
        """Keep each head's share of the output, without the bias, which belongs to no head."""
        by_head = self.unfold(z)[:, 0].unflatten(-1, (self.n_heads, -1))
        assert layer.output is not None
        for h in range(self.n_heads):
            alone = torch.zeros_like(by_head)
            alone[..., h, :] = by_head[..., h, :]
            share = _without_bias(layer.output, alone.flatten(-2))
            scale = self.patching.write_scales[layer.index]["a"]
            self.written[f"a{layer.index}.h{h}"] = scale * share
        return z

    def _scale_heads(self, x: Tensor, out: Tensor, layer: LayerParts) -> Tensor:
        """A norm multiplies the sum of all heads by one number per token and dimension."""
        factor = self.unfold(out / x)[:, 0]
        for h in range(self.n_heads):
            self.written[f"a{layer.index}.h{h}"] = self.written[f"a{layer.index}.h{h}"] * factor
        return out

    def _share_norm(self, name: str) -> Callable[[Tensor, Tensor], Tensor]:
        """A norm across heads takes the mean square over all heads, each of its own stream.

        With grouped queries every head counts with its own copy of its key.
        """
        slot = 0 if "q_" in name else 1

        def share(x: Tensor, out: Tensor) -> Tensor:
            squares = self.unfold(x).pow(2)
            rows = list(self.unfold(out).unbind(1))
            n = self.n_heads
            kv_heads = x.shape[-1] // self.d_head
            means = squares.unflatten(-1, (kv_heads, -1)).mean(-1)
            heads = [means[:, 3 * h + slot, ..., h * kv_heads // n] for h in range(n)]
            together = torch.stack(heads).mean(0)[..., None]
            for h in range(n):
                alone = squares[:, 3 * h + slot].mean(-1, keepdim=True)
                factor = ((alone + self.eps) / (together + self.eps)).sqrt()
                rows[3 * h + slot] = rows[3 * h + slot] * factor
            return torch.stack(rows, 1).reshape(out.shape)

        return share

    @property
    def d_head(self) -> int:
        config = self.patching.config
        return getattr(config, "head_dim", None) or config.hidden_size // self.n_heads

    @property
    def eps(self) -> float:
        return self.patching.config.rms_norm_eps

    def _mix(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Give the copy of each head's query the key and the value of its two other copies."""
        taken = []
        for i, rows in ((1, key), (2, value)):
            order = list(range(self.n_copies))
            for h in range(self.n_heads):
                order[3 * h] = 3 * h + i
            taken.append(rows.unflatten(0, self.shape)[:, order].flatten(0, 2))
        return taken[0], taken[1]

    def _mixing(self, layer: LayerParts) -> Any:
        """Replaces the place where queries, keys and values meet."""
        attention: Any = layer.attention
        if layer.names.projections:
            return self._mixing_projections(
                [attention.get_submodule(name) for name in layer.names.projections]
            )
        if name := layer.names.method or layer.names.split:
            plain = getattr(attention, name)
            if layer.names.method:

                def method(query: Tensor, key: Tensor, value: Tensor, *rest: Any, **more: Any):
                    return plain(query, *self._mix(key, value), *rest, **more)

                return patch.object(attention, name, method)

            def split(fused: Tensor) -> tuple[Tensor, Tensor, Tensor]:
                query, key, value = plain(fused)
                return (query, *self._mix(key, value))

            return patch.object(attention, name, split)
        file = sys.modules[type(attention).__module__]
        inner = file.eager_attention_forward

        def eager(
            module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *rest: Any, **more: Any
        ) -> Any:
            if module is attention:
                key, value = self._mix(key, value)
            return inner(module, query, key, value, *rest, **more)

        return patch.object(file, "eager_attention_forward", eager)

    @contextmanager
    def _mixing_projections(self, modules: Sequence[nn.Module]) -> Iterator[None]:
        """Mixes in the outputs of projections: of keys and of values, or of all in three blocks."""

        def mix(_: Tensor, out: Tensor, at: int) -> Tensor:
            if len(modules) == 1:
                query, key, value = out.chunk(3, -1)
                return torch.cat([query, *self._mix(key, value)], -1)
            return self._mix(out, out)[at]

        handles = [change_output(m, partial(mix, at=at)) for at, m in enumerate(modules)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _without_bias(module: nn.Module, x: Tensor) -> Tensor:
    # `forward` itself runs no hooks.
    return module.forward(x) - module.forward(torch.zeros_like(x))


def change_input(module: nn.Module, change: Callable[[Tensor], Tensor]) -> Any:
    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args:
            return (change(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": change(kwargs["hidden_states"])}

    return module.register_forward_pre_hook(hook, with_kwargs=True)


def change_output(module: nn.Module, change: Callable[[Tensor, Tensor], Tensor]) -> Any:
    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Any:
        x = args[0] if args else kwargs["hidden_states"]
        if isinstance(out, tuple):
            return (change(x, out[0]), *out[1:])
        return change(x, out)

    return module.register_forward_hook(hook, with_kwargs=True)
