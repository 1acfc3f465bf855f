"""The revision of a model in memory: a hash of all that decides its outputs and its tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from acdc_pipeline.models.fingerprint import CONFIG_WITHOUT_INFLUENCE
from acdc_pipeline.models.hashing import hash_tensors, hash_tokenizer
from acdc_pipeline.models.memory.refusals import own_tensors
from acdc_pipeline.specs.base import sha256_of

# Of a bridge's configuration, fields about its place in memory, its hooks and its prompts.
_BRIDGE_WITHOUT_INFLUENCE = CONFIG_WITHOUT_INFLUENCE | {
    "device",
    "model_name",
    "n_devices",
    "tokenizer_name",
    "tokenizer_prepends_bos",
    "tokenizer_appends_eos",
    "default_prepend_bos",
    "default_padding_side",
    "seed",
    "init_weights",
    "use_attn_in",
    "use_attn_result",
    "use_hook_mlp_in",
    "use_split_qkv_input",
}


# Numbers of modules that calls and training change, and that outputs do not depend on.
_CHANGING = frozenset({"training", "gradient_checkpointing", "max_seq_len_cached"})


def model_revision(
    architecture: str,
    config: Mapping[str, Any],
    modules: Mapping[str, nn.Module],
    tokenizer: PreTrainedTokenizerBase | None,
) -> str:
    """Return 20 hex digits that change whenever a weight, a setting or the tokenizer does.

    The device is without influence. Weights of another floating-point type are another revision.

    Args:
        config: fields of the configuration; those about saving and training do not count.
        modules: all modules by name, whose parameters, buffers, classes and settings count.
    """
    ignored = CONFIG_WITHOUT_INFLUENCE | {"architectures"}
    return sha256_of(
        {
            "kind": "memory",
            "architecture": architecture,
            "config": {name: value for name, value in config.items() if name not in ignored},
            "modules": {name: describe_module(module) for name, module in modules.items()},
            "tensors": hash_tensors(_tensors(modules)),
            "tokenizer": None if tokenizer is None else hash_tokenizer(tokenizer),
        }
    )[:20]


def bridge_settings(cfg: Any) -> dict[str, Any]:
    """Return the fields of a bridge's configuration that are plain values and decide outputs."""
    plain = (bool, int, float, str, type(None))
    return {
        name: value
        for name, value in sorted(cfg.to_dict().items())
        if isinstance(value, plain) and name not in _BRIDGE_WITHOUT_INFLUENCE
    }


def describe_module(module: nn.Module) -> list[Any]:
    """Return the class of a module, and its numbers: its epsilon, scale or window, say.

    A caller may have changed them after the module was built. Those of a `TransformerBridge` stand
    in its configuration; beside them its modules keep what they recorded. Of an adapter, the
    scales, and which adapters are active or merged, count.
    """
    kind = type(module)
    library = kind.__module__.partition(".")[0]
    if library == "transformer_lens":
        return [kind.__qualname__]
    if library == "peft":
        scales = {name: float(scale) for name, scale in getattr(module, "scaling", {}).items()}
        adapters = [
            list(getattr(module, name, ())) for name in ("active_adapters", "merged_adapters")
        ]
        return [kind.__qualname__, scales, *adapters]
    numbers = {
        name: value
        for name, value in sorted(vars(module).items())
        if isinstance(value, bool | int | float) and name not in _CHANGING and name[0] != "_"
    }
    own = library not in ("torch", "transformers")
    return [f"{kind.__module__}.{kind.__qualname__}" if own else kind.__qualname__, numbers]


def _tensors(modules: Mapping[str, nn.Module]) -> Iterator[tuple[str, Tensor]]:
    for name, module in modules.items():
        for part, tensor in own_tensors(module):
            yield f"{name}.{part}", tensor
