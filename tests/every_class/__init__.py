"""One tiny model of each supported class of transformers, by family."""

from tests.every_class.dense import DENSE
from tests.every_class.hearing import HEARING
from tests.every_class.hybrids import HYBRIDS
from tests.every_class.known import KNOWN
from tests.every_class.latent import LATENT
from tests.every_class.later import LATER
from tests.every_class.mixtures import MIXTURES
from tests.every_class.older import OLDER
from tests.every_class.seeing import SEEING
from tests.every_class.seeing_later import SEEING_LATER
from tests.every_class.tiny import TinyModel

EVERY_CLASS: tuple[TinyModel, ...] = (
    *KNOWN,
    *DENSE,
    *MIXTURES,
    *OLDER,
    *HYBRIDS,
    *LATENT,
    *LATER,
    *SEEING,
    *SEEING_LATER,
    *HEARING,
)

__all__ = ["EVERY_CLASS", "TinyModel"]
