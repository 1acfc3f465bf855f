"""Take a model in memory in place of a reference: check it, identify it, and load copies of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from acdc_pipeline.errors import InvalidInput, UnsupportedModel
from acdc_pipeline.models.architectures import find_architecture, require_supported
from acdc_pipeline.models.bridge import refuse_not_finite, wrap_pretrained
from acdc_pipeline.models.config import check_hugging_face, check_sizes
from acdc_pipeline.models.device import resolve_device, resolve_dtype
from acdc_pipeline.models.directory import NATIVE
from acdc_pipeline.models.load import LoadedModel, digest_of, load_reference, weights_of
from acdc_pipeline.models.memory.adapters import adapter_settings, is_adapted, merged_copy
from acdc_pipeline.models.memory.copying import copy_bridge, copy_module, is_bridge, named_modules
from acdc_pipeline.models.memory.held import HeldModel, memory_ref, own_tokenizer
from acdc_pipeline.models.memory.identity import bridge_settings, model_revision
from acdc_pipeline.models.memory.refusals import (
    refuse_adapters,
    refuse_quantised,
    refuse_unfaithful,
)
from acdc_pipeline.models.tl_format import expected_shapes
from acdc_pipeline.specs.model_ref import ModelRef

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


def hold_model(model: Any, tokenizer: Any) -> HeldModel:
    """Return a model in memory, checked and identified. Nothing is copied yet.

    Raises:
        UnsupportedModel: the engine does not reproduce it, or its weights are packed or adapted.
        InvalidInput: a value of another type, or hooks that change what the model computes.
    """
    if isinstance(model, LoadedModel):
        if tokenizer is not None:
            raise own_tokenizer(str(model.ref))
        return _hold_loaded(model)
    if tokenizer is not None and not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise InvalidInput(
            f"a {type(tokenizer).__name__} is not a tokenizer",
            field="tokenizer",
            allowed="a tokenizer of transformers",
        )
    if is_bridge(model):
        own = getattr(model, "tokenizer", None)
        return _hold_bridge(model, own if tokenizer is None else tokenizer)
    if isinstance(model, PreTrainedModel):
        refuse_adapters(dict(named_modules(model)), str(_pretrained_ref(model)))
        return _hold_pretrained(model, model, tokenizer, {})
    if is_adapted(model) and isinstance(model.get_base_model(), PreTrainedModel):
        base = model.get_base_model()
        settings = adapter_settings(model, str(_pretrained_ref(base)))
        return _hold_pretrained(model, base, tokenizer, settings)
    fix = "pass the model that it wraps" if isinstance(model, torch.nn.Module) else None
    raise InvalidInput(
        f"a {type(model).__module__}.{type(model).__qualname__} is not a model",
        field="model",
        allowed="a reference, a TransformerBridge, a PreTrainedModel of transformers, or a model "
        "of load_model",
        fix=fix,
    )


def _hold_loaded(model: LoadedModel) -> HeldModel:
    """Hold a model of `load_model` under its reference, unless its weights or tokenizer changed."""
    if model.digest != digest_of(model):
        raise InvalidInput(
            "its weights or tokenizer changed after load_model returned it",
            where=str(model.ref),
            fix="load it again; or change a PreTrainedModel or a TransformerBridge, and pass that",
        )

    def load(dtype: str, device: str) -> LoadedModel:
        if dtype == model.dtype and resolve_device(device) == model.weights.device:
            return model
        return load_reference(model.ref, dtype, device)

    return HeldModel(model.ref, model.revision, load)


def _pretrained_ref(model: PreTrainedModel) -> ModelRef:
    config = model.config
    return memory_ref(str(getattr(config, "name_or_path", "")), str(config.model_type))


def _hold_pretrained(
    model: Any, base: PreTrainedModel, tokenizer: Any, adapters: Mapping[str, Any]
) -> HeldModel:
    """Hold a transformers model.

    Args:
        model: the model that computes the outputs: `base`, or a `PeftModel` around it.
        adapters: settings of the adapters in `model`; empty without any.
    """
    architecture = type(base).__name__
    config = _plain_config(base.config, architecture)
    ref = _pretrained_ref(base)
    where = str(ref)
    refuse_quantised(config, where)
    require_supported(architecture, config, where=where)
    found = find_architecture(architecture)
    check_sizes(found.text_fields(config), where)
    if model is base:
        model = found.text_only(model)
    modules = dict(named_modules(model))
    check_hugging_face(config, architecture, where)
    refuse_unfaithful(modules, where)
    deciding = {**config, **({"adapters": dict(adapters)} if adapters else {})}
    revision = model_revision(architecture, deciding, modules, tokenizer)
    load = partial(_load_pretrained, model, architecture, tokenizer, ref, revision)
    return HeldModel(ref, revision, load)


def _hold_bridge(bridge: TransformerBridge, tokenizer: Any) -> HeldModel:
    try:
        original = bridge.original_model
    except AttributeError as error:
        raise InvalidInput(
            f"this TransformerBridge has no weights in this process: {error}",
            field="model",
            fix="boot it with boot_transformers or boot_native",
        ) from error
    ref = memory_ref(str(getattr(bridge.cfg, "model_name", "")), "bridge")
    where, native = str(ref), not isinstance(original, PreTrainedModel)
    architecture = NATIVE if native else type(original).__name__
    settings = bridge_settings(bridge.cfg)
    config = settings if native else _plain_config(original.config, architecture)
    modules = dict(named_modules(bridge))
    refuse_quantised(config, where)
    refuse_adapters(modules, where)
    require_supported(architecture, config, where=where)
    if find_architecture(architecture, config).source == "module":
        raise UnsupportedModel(
            f"{architecture} is read from the transformers model, not from a TransformerBridge",
            where=where,
            fix="pass the PreTrainedModel that was not wrapped",
        )
    check_sizes(config, where)
    if native:
        expected_shapes(config)  # raises for norms and positions that the format lacks
    else:
        check_hugging_face(config, architecture, where)
    refuse_unfaithful(modules, where)
    deciding = {"bridge": settings, **config}
    revision = model_revision(architecture, deciding, modules, tokenizer)
    load = partial(_load_bridge, bridge, architecture, tokenizer, ref, revision)
    return HeldModel(ref, revision, load)


def _load_pretrained(
    model: Any,
    architecture: str,
    tokenizer: PreTrainedTokenizerBase | None,
    ref: ModelRef,
    revision: str,
    dtype: str,
    device: str,
) -> LoadedModel:
    precision, where = resolve_dtype(dtype), str(ref)
    original = copy_module(model, precision, where=where)
    adapted = is_adapted(original)
    base = original.get_base_model() if adapted else original
    found = find_architecture(architecture, base.config.to_dict())
    base.set_attn_implementation(found.attn_implementation)
    refuse_not_finite(original.named_parameters(), where)
    make_copy = merged_copy if adapted else copy_module
    if found.source == "module":
        base.set_experts_implementation("eager")
        bridge = None
        read = make_copy(original, precision, where=where) if adapted else original
    else:
        # TransformerLens changes the modules that it wraps; the first copy stays the caller's.
        bridge = read = wrap_pretrained(make_copy(original, precision, where=where))
    weights = weights_of(read, found, where=where)
    return LoadedModel(
        ref=ref,
        revision=revision,
        architecture=architecture,
        weights=weights.to(precision=precision, device=resolve_device(device)),
        tokenizer=tokenizer,
        bridge=bridge,
        original=original,
    )


def _load_bridge(
    bridge: TransformerBridge,
    architecture: str,
    tokenizer: PreTrainedTokenizerBase | None,
    ref: ModelRef,
    revision: str,
    dtype: str,
    device: str,
) -> LoadedModel:
    precision, where = resolve_dtype(dtype), str(ref)
    copied = copy_bridge(bridge, precision, where=where)
    refuse_not_finite(copied.named_parameters(), where)
    weights = weights_of(copied, find_architecture(architecture), where=where)
    return LoadedModel(
        ref=ref,
        revision=revision,
        architecture=architecture,
        weights=weights.to(precision=precision, device=resolve_device(device)),
        tokenizer=tokenizer,
        bridge=copied,
    )


def _plain_config(config: Any, architecture: str) -> dict[str, Any]:
    """Return the fields that `save_pretrained` would write into config.json."""
    return {**json.loads(config.to_json_string()), "architectures": [architecture]}
