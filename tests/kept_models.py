"""Models that workers have loaded, kept for the next worker of this process.

To load a tiny model takes longer than most runs on it. A model is used again for the same revision,
which is a hash of all its files, data type and device. One whose weights or tokenizer have changed
since it was loaded is loaded anew. Hooks and other attributes are not compared: tests must leave
them alone on models of workers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from acdc_pipeline.models import LoadedModel
    from acdc_pipeline.specs import ModelRef

MOST = 8
"""Models that are kept."""

PLENTY = 2**24
"""Bytes of memory with which a tiny model is loaded as without a limit."""


def keep_models() -> None:
    """Let all workers of this process share the models that they load, if any test imports them."""
    worker: Any = sys.modules.get("acdc_pipeline.execution.worker")
    if worker is not None:
        worker.load_reference = _keeping(worker.load_reference)


def _keeping(load: Callable[..., LoadedModel]) -> Callable[..., LoadedModel]:
    from acdc_pipeline.models.load import digest_of
    from acdc_pipeline.models.location import locate

    kept: dict[tuple[str, str, str], tuple[LoadedModel, str]] = {}

    def load_or_reuse(
        ref: ModelRef, dtype: str, device: str, memory: int | None = None, *, shares: bool = False
    ) -> LoadedModel:
        if memory is not None and memory < PLENTY:
            return load(ref, dtype, device, memory, shares=shares)
        key = (locate(ref).revision, dtype, device)
        model, digest = kept.pop(key, (None, ""))
        if model is None or digest_of(model) != digest:
            model = load(ref, dtype, device, memory, shares=shares)
            if model.is_layered:
                return model
            digest = digest_of(model)
        kept[key] = (model, digest)
        if len(kept) > MOST:
            del kept[next(iter(kept))]
        return replace(model, ref=ref)

    return load_or_reuse
