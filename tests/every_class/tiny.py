"""A tiny model of a class of transformers, and where its parts are.

Each shows what is peculiar about its class: prompts in tests have five tokens, so a window of
three hides keys; soft caps are small enough to bite; four query heads share two key/value heads
where the class groups them.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.checkpoints import randomised
from tests.hugging_face_models import POSITIONS, VOCAB
from tests.oracles.hugging_face_parts import Family, Layer

TOKENS: dict[str, Any] = {
    "vocab_size": VOCAB,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
}
SIZES: dict[str, Any] = {
    **TOKENS,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "hidden_size": 16,
    "intermediate_size": 24,
    "max_position_embeddings": POSITIONS,
}
ROTARY: dict[str, Any] = {"rope_type": "default", "rope_theta": 100.0}
PARTIAL_ROTARY: dict[str, Any] = {**ROTARY, "partial_rotary_factor": 0.5}
GROUPED: dict[str, Any] = {**SIZES, "num_attention_heads": 4, "num_key_value_heads": 2}

SHARED_NORM = {"input_layernorm": "am"}
BOTH_NORMS = Layer(
    reads={"input_layernorm": "a", "pre_feedforward_layernorm": "m"},
    writes={"post_feedforward_layernorm": "m"},
    after_heads="post_attention_layernorm",
)


@dataclass(frozen=True)
class TinyModel:
    """A model of class `name` with these fields of its config.

    Args:
        family: where its parts are, for the oracle.
        threshold: of ACDC, in nats; one that keeps some edges and removes some.
        dtype: float32 for classes that compute something in no wider type.
        prepare: called with the model after its weights are drawn.
        attention: how transformers computes attention.
    """

    name: str
    fields: Mapping[str, Any]
    family: Family = field(default_factory=Family)
    threshold: float = 0.05
    dtype: str = "float64"
    prepare: Callable[[Any], None] = lambda model: None
    attention: str = "eager"

    def save(self, directory: Path) -> Path:
        """Write a checkpoint with random weights, the same ones each time."""
        import torch
        import transformers

        model_class = getattr(transformers, self.name)
        _shorten_chunks(sys.modules[model_class.__module__])
        # Classes draw some of their parameters from the global generator, and keep them.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = model_class(model_class.config_class(**self.fields))
            randomised(model, directory)
            self.prepare(model)
        model.save_pretrained(directory)
        return directory

    def load(self, directory: Path) -> Any:
        """Return the model as transformers reads it."""
        import torch
        import transformers

        return getattr(transformers, self.name).from_pretrained(
            directory,
            dtype=getattr(torch, self.dtype),
            attn_implementation=self.attention,
            experts_implementation="eager",
        )


def _shorten_chunks(module: ModuleType) -> None:
    """Let delta rules compute in chunks of 8 positions, where prompts are padded to 64 by default.

    It is one chunk either way.
    """
    for name, function in list(vars(module).items()):
        if inspect.isfunction(function) and function.__module__ == module.__name__:
            size = inspect.signature(function).parameters.get("chunk_size")
            if size is not None and size.default == 64:
                setattr(module, name, partial(function, chunk_size=8))
