"""The text models of classes that also read images or sound."""

from acdc_pipeline.models.architectures.text_parts.classes import ARCHITECTURES

__all__ = ["ARCHITECTURES"]
