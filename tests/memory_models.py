"""Models in memory for tests, and pictures of a model before and after something is done to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module
from transformers import AutoModelForCausalLM

from acdc_pipeline.specs import TaskSpec
from tests import checkpoints

IDS = TaskSpec.from_plain(
    {
        "name": "ids",
        "title": "Prompts of token ids",
        "behaviour": "3 5 2 7 1 4 -> 6",
        "source": {"paper": "none"},
        "generator": {
            "kind": "pairs",
            "bos": False,
            "pairs": [
                {
                    "clean": [(3 * i + 5 * j) % 20 for j in range(6)],
                    "corrupted": [(7 * i + 2 * j + 1) % 20 for j in range(6)],
                    "correct": [(i + 6) % 20],
                    "incorrect": [(i + 9) % 20],
                }
                for i in range(3)
            ],
        },
        "metrics": {"discovery": "kl", "report": []},
    }
)
TOKENS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6], [5, 3, 5, 8, 9, 7, 9, 3]])


def pretrained(folder: Path, **how: Any) -> Any:
    """The transformers model of a checkpoint, in memory, as a notebook would hold it."""
    return AutoModelForCausalLM.from_pretrained(folder, **how)


def gpt2(tmp_path: Path, seed: int = 0, **how: Any) -> Any:
    return pretrained(checkpoints.gpt2(tmp_path / f"gpt2-{seed}", seed), **how)


def bridge(model: Any, tokenizer: Any = None) -> Any:
    """A `TransformerBridge`, through the library alone. It takes `model` over."""
    return build_bridge_from_module(
        model.eval(),
        type(model).__name__,
        hf_config=model.config,
        model_name="org/wrapped",
        tokenizer=tokenizer,
    )


def state(model: Any) -> dict[str, Any]:
    """All that a caller sees of a model, its own logits last."""
    out: dict[str, Any] = {"class": type(model)}
    with torch.no_grad():
        model(TOKENS)  # what modules keep of their first forward pass
    for name, module in torch.nn.Module.named_modules(model):
        attributes = {k: _shown(v) for k, v in vars(module).items() if k[0] != "_"}
        hooks = [list(getattr(module, k)) for k in ("_forward_hooks", "_forward_pre_hooks")]
        out[f"{name}!"] = (id(module), type(module), module.training, hooks, attributes)
    original = getattr(model, "original_model", model)
    for name, p in [*original.named_parameters(), *original.named_buffers()]:
        out[name] = (id(p), p.requires_grad, p.dtype, p.device, p.detach().clone())
    config = getattr(original, "config", None)
    if config is not None:
        out["config"] = (config.to_json_string(), config._attn_implementation)
    training = model.training
    model.eval()
    with torch.no_grad():
        logits = model(TOKENS)
    model.train(training)
    out["logits"] = (getattr(logits, "logits", logits),)
    return out


def _shown(value: Any) -> Any:
    """Plain values as they are, functions by identity; a forward pass may replace all else."""
    plain = isinstance(value, bool | int | float | str | type(None))
    return value if plain else id(value) if callable(value) else type(value)


def assert_same(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Every module, attribute, flag and value is what it was, bit for bit."""
    assert before.keys() == after.keys()
    for name, parts in before.items():
        if not isinstance(parts, tuple):
            assert parts == after[name], name
            continue
        for was, now in zip(parts, after[name], strict=True):
            same = torch.equal(was, now) if isinstance(was, torch.Tensor) else was == now
            assert same, (name, was, now)
