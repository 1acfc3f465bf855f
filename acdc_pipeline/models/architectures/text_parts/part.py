"""A text model inside a model that also reads images or sound, on prompts of text alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any, ClassVar

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.models.architectures.layout import ModuleArchitecture
from acdc_pipeline.models.architectures.text_parts.layouts import (
    find_text_architecture,
    with_plain_logits,
)
from acdc_pipeline.models.config import check_hugging_face


class TextPart(ModuleArchitecture):
    """The text model of a class, read by the architecture that its own config names.

    The class itself computes the logits to compare with, without its encoders of images or sound.

    Class attributes:
        changes_logits: whether the class scales or caps logits as the text model by itself does.
    """

    changes_logits: ClassVar[bool] = False

    def text_fields(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the fields of the text model, with the defaults of transformers.

        Raises:
            InvalidInput: transformers cannot read the fields.
        """
        from acdc_pipeline.models.conversion.cache import derive_once

        # Importing the configurations of transformers takes seconds.
        parts = {
            "config": json.dumps(config, sort_keys=True),
            "transformers": version("transformers"),
        }
        fields = derive_once(parts, partial(_derive_text_fields, self.class_name, config))
        text = find_text_architecture(fields)
        return fields if text is None else text.text_fields(fields)

    def text_architecture(self, config: Mapping[str, Any]) -> ModuleArchitecture:
        return find_text_architecture(config) or self

    def find_refusal(self, config: Mapping[str, Any]) -> str | None:
        text = find_text_architecture(config)
        if text is None:
            return f"its text model, a '{config.get('model_type')}', is not reproduced inside it"
        return text.find_refusal(config)

    def loaded_class(self, model_class: Any) -> Any:
        from acdc_pipeline.models.architectures.text_parts.towers import without_towers

        return without_towers(model_class)

    def text_only(self, model: Any) -> Any:
        from acdc_pipeline.models.architectures.text_parts.towers import view_without_towers

        return view_without_towers(model)

    def text_part(self, model: Any) -> tuple[Any, ModuleArchitecture]:
        from acdc_pipeline.models.architectures.text_parts.towers import language_model

        inner, head = language_model(model)
        config = model.config.get_text_config()
        text = self.text_architecture(config.to_dict())
        if not self.changes_logits:
            text = with_plain_logits(text)
        if hasattr(inner, "lm_head"):
            return inner, text
        whole = SimpleNamespace(
            config=config, lm_head=head, get_input_embeddings=inner.get_input_embeddings
        )
        # Paths begin with the name that the inner model has in the causal class.
        setattr(whole, text.layers.partition(".")[0], inner)
        return whole, text


def _derive_text_fields(class_name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    from huggingface_hub.errors import StrictDataclassError
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = str(config.get("model_type"))
    where = "config.json"
    try:
        whole = CONFIG_MAPPING[kind].from_dict(_read_floats(dict(config)))
        fields: dict[str, Any] = json.loads(whole.get_text_config().to_json_string(use_diff=False))
    except (StrictDataclassError, TypeError, ValueError, KeyError, AttributeError) as error:
        check_hugging_face(config, class_name, where)  # a model_type of another class
        problem = " ".join(str(error).split())
        raise InvalidInput(
            f"transformers cannot read the fields of a '{kind}': {problem}",
            where=where,
            fix="use the config.json that was saved together with the weights",
        ) from error
    return fields


def _read_floats(value: Any) -> Any:
    """Return a value of a config.json with infinities, which transformers writes as objects."""
    if isinstance(value, list):
        return [_read_floats(one) for one in value]
    if isinstance(value, dict):
        if value.keys() == {"__float__"}:
            return float(value["__float__"])
        return {name: _read_floats(one) for name, one in value.items()}
    return value
