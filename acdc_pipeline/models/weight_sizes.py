"""The number of a model's weights by layer, from config.json alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.models.architectures import find_architecture
from acdc_pipeline.models.architectures.layout import ModuleArchitecture
from acdc_pipeline.models.bridge import quiet_transformers
from acdc_pipeline.models.device import Precision
from acdc_pipeline.models.directory import architecture_of, read_config


@dataclass(frozen=True)
class WeightSizes:
    """Numbers of parameters; those that several modules share count once.

    Args:
        path: name of the list of layers in the transformers model.
        around: all outside the layers: embedding, unembedding, final norm.
        layers: those of each layer that text passes.
    """

    path: str
    around: int
    layers: tuple[int, ...]

    @property
    def total(self) -> int:
        """All of them."""
        return self.around + sum(self.layers)

    def least_memory(self, precision: Precision, *, on_cpu: bool) -> int:
        """Return the least `--memory` in bytes with which layers can be read from their files.

        Half of it is for weights: what is around the layers, and three layers: the one in use, the
        next, and the tensors from the files that it is made from.
        """
        return 2 * (self.around_bytes(precision, on_cpu=on_cpu) + self.passing_bytes(precision))

    def around_bytes(self, precision: Precision, *, on_cpu: bool) -> int:
        """Return the bytes around the layers; on the CPU also those of the original model."""
        wide = precision.computed.itemsize if on_cpu else 0
        return self.around * (precision.held.itemsize + wide)

    def passing_bytes(self, precision: Precision) -> int:
        """Return the bytes of the layers in passing while the next is made."""
        return max(self.layers) * (2 * precision.held.itemsize + precision.computed.itemsize)

    def layer_bytes(self, precision: Precision) -> tuple[int, ...]:
        """Return the bytes of each layer as it is held."""
        return tuple(count * precision.held.itemsize for count in self.layers)


def measure_weights(directory: Path, architecture: ModuleArchitecture) -> WeightSizes:
    """Return the sizes of the model of a directory, of which config.json alone is read.

    Args:
        architecture: how its modules are read.

    Raises:
        InvalidInput: transformers cannot make a model of that config.
    """
    empty = make_empty(directory, architecture)
    text, inner = architecture.text_part(empty)
    layers = inner.decoder_layers(text)
    path, siblings = _find_list(empty, layers)
    in_layers = {id(p) for sibling in siblings for p in sibling.parameters()}
    return WeightSizes(
        path=path,
        around=sum(p.numel() for p in empty.parameters() if id(p) not in in_layers),
        layers=tuple(sum(p.numel() for p in layer.parameters()) for layer in layers),
    )


def make_empty(directory: Path, architecture: ModuleArchitecture) -> Any:
    """Return the transformers model of a directory, with parameters that hold no values.

    Raises:
        InvalidInput: transformers cannot make a model of that config.
    """
    import transformers
    from accelerate import init_empty_weights
    from huggingface_hub.errors import StrictDataclassError

    name = architecture.class_name or architecture_of(read_config(directory))
    found = find_architecture(name)
    try:
        with quiet_transformers(), init_empty_weights():
            return found.loaded_class(getattr(transformers, name))(
                transformers.AutoConfig.from_pretrained(directory, local_files_only=True)
            )
    except (StrictDataclassError, TypeError, ValueError, KeyError, AttributeError) as error:
        raise InvalidInput(
            f"transformers cannot make a {name} of it: {' '.join(str(error).split())}",
            where=str(directory / "config.json"),
            fix="use the config.json that was saved together with the weights",
        ) from error


def _find_list(model: nn.Module, layers: Sequence[nn.Module]) -> tuple[str, list[nn.Module]]:
    """Return the name of the list that holds these layers, and all in it."""
    for name, module in model.named_modules():
        if any(child is layers[0] for child in module.children()):
            return name, list(module.children())
    raise AssertionError("the layers of a model are parts of it")
