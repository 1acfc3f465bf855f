"""Names of models that need no explanation: `GPT-2-shaped, 4 layers (trained here, seed 0)`."""

from __future__ import annotations

import re

from acdc_pipeline.wiki.models import Model
from acdc_pipeline.wiki.text import pluralize, show_name

_SHAPES = {
    "attn": "attention only",
    "gpt2": "GPT-2-shaped",
    "llama": "Llama-shaped",
    "neox": "GPT-NeoX-shaped",
    "opt": "OPT-shaped",
    "nopos": "attention only, without positions",
}
"""What the first part of a name in the zoo says about the blocks of a model."""

_ORIGINS = {"zoo": "trained here", "hf": "from Hugging Face"}
_SEED = re.compile(r"s(\d+)")
_LAYERS = re.compile(r"\d+l")
_COMPILED = "compiled-"


def plain_name(model: Model) -> str:
    """Return a name of a model in words: its blocks, its layers and where it comes from.

    Models of the zoo are named by their shape, others by the last part of their name.
    """
    origin, _, name = model.ref.partition("@")[0].partition(":")
    layers = pluralize(model.n_layers, "layer")
    if origin == "zoo" and name.startswith(_COMPILED):
        program = name.removeprefix(_COMPILED).replace("-", " ")
        return f"{program} program, {layers} (weights set by hand)"
    first, *rest = name.split("-")
    if origin != "zoo" or first not in _SHAPES:
        short = show_name(name.rpartition("/")[2].removesuffix(".gguf") or model.ref, 40)
        where = _ORIGINS.get(origin)
        return f"{short}, {layers}" + (f" ({where})" if where else "")
    notes = [_ORIGINS[origin]]
    for part in rest:
        seed = _SEED.fullmatch(part)
        if seed is not None:
            notes.append(f"seed {seed[1]}")
        elif not _LAYERS.fullmatch(part):
            notes.append(part)
    return f"{_SHAPES[first]}, {layers} ({', '.join(notes)})"
