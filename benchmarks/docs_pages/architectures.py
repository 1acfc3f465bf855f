"""The page about architectures, from the classes that read them and the table of refusals.

`python -m benchmarks.docs_pages.architectures docs/architectures.md` writes it.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterable
from pathlib import Path

from acdc_pipeline.models.architectures import ALIASES, SUPPORTED, find_architecture
from acdc_pipeline.models.architectures.refused import REFUSED

_BEGINNING = """\
# Architectures

This page is made from the definitions in `acdc_pipeline/models/architectures/` (`python -m
benchmarks.docs_pages.architectures docs/architectures.md`).

The engine computes models itself, from their weights, and is checked against the original on the
task's own prompts before it may judge an edge: logits that differ by more than 1e-4 of the largest
are refused. In the tests logits agree with every class below to 1e-10 in float64 (to 1e-5 where a
class itself computes in float32), effects of edges agree with an independent implementation, and
ACDC takes the same decisions as a plain loop over that implementation.

`acdc models check MODEL` measures the distance for a model and lists what it consists of, `acdc
models show MODEL` names the reason of a refusal. In which files weights may come is the subject of
[model-files.md](model-files.md). `acdc models list --coverage` compares the installed transformers
and TransformerLens with the two lists below; a test fails for a class of either that is in none.

## Reproduced

| Architecture | `architectures` in config.json | What is peculiar |
|---|---|---|
"""

_SETTINGS = """
Settings in config.json with which a class is refused all the same:

| Class | Setting | Reason |
|---|---|---|
"""

_GRAPH = """
## The graph

Every query head has a `q`, `k` and `v` input of its own, also where several share one key and
value projection. Where attention and MLP stand side by side, an MLP does not see the heads of its
own layer. Biases of the attention output belong to no node and always stay.

What the three slots mean where attention has more parts:

- **Latents** (multi-head latent attention): each slot of each head computes its latent from its own
  input, also where keys and values share the projection to it. The key that all heads share is read
  by every head in its `k` slot.
- **Gates** on what heads carry are computed from the input of the `q` slot.
- **Sinks** and **ALiBi** are constants of a head. No edge carries them, and no ablation removes
  them.

## Models whose heads move one another

In some models (Gemma 2 and 3, OLMo 2 and 3) a norm follows the attention. The heads' outputs
r₁, r₂, … reach the stream as w · (r₁ + r₂ + …) / rms(r₁ + r₂ + …), so a head writes its share,
w · r_h / rms(…), and one head that changes moves the shares of all. Norms of queries and keys that
span all heads of a layer, as OLMo's, couple their inputs in the same way.

Two things follow.

- A head that nothing reads any more still counts in the norm. ACDC leaves the edges into such a
  node untested; they stay present, and a run measures its circuit with them. So the metric of the
  kept edges alone, with everything else ablated, differs from the one the run reports.
- A change does not travel along present edges only. The search computes every later layer anew for
  each edge tested, in batches: exact as ever, but its cost does not fall with the circuit's size.

## Refused

Classes that transformers or TransformerLens lists and that are refused, by reason. A class in
neither list of this page is refused too: nobody has looked at it yet.
"""


def page_text() -> str:
    """Return the page."""
    return (
        _BEGINNING
        + "".join(_supported_rows())
        + _SETTINGS
        + "".join(_setting_rows())
        + _GRAPH
        + "".join(_refusals())
    )


def _supported() -> list[tuple[str, str]]:
    return sorted(SUPPORTED.items(), key=lambda item: item[1].lower())


def _supported_rows() -> Iterable[str]:
    for name, title in _supported():
        also = "".join(f", `{alias}`" for alias in find_architecture(name).aliases)
        yield f"| {title} | `{name}`{also} | {_peculiarity(name)} |\n"


def _peculiarity(name: str) -> str:
    """Return the first paragraph of the docstring of a class, in one line."""
    text = inspect.getdoc(type(find_architecture(name))) or ""
    return " ".join(text.split("\n\n")[0].split()).removesuffix(".")


def _setting_rows() -> Iterable[str]:
    for name, _ in _supported():
        for setting in find_architecture(name).refused_values:
            value = json.dumps(setting.value)
            yield f"| `{name}` | `{setting.field}: {value}` | {setting.reason} |\n"


def _refusals() -> Iterable[str]:
    groups: dict[str, list[str]] = {}
    for name, reason in REFUSED.items():
        if name not in SUPPORTED and name not in ALIASES:
            groups.setdefault(reason, []).append(name)
    for reason, names in sorted(groups.items()):
        listed = ", ".join(f"`{name}`" for name in sorted(names))
        yield f"\n**{reason[0].upper()}{reason[1:]}:** {listed}.\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page_text(), encoding="utf-8")
