"""The type checker that the import hook puts on every function of the package."""

from __future__ import annotations

from typing import Self

from beartype import BeartypeConf, FrozenDict, beartype

# The hook decorates methods one at a time, where beartype cannot know which class `Self` is.
beartyped = beartype(conf=BeartypeConf(hint_overrides=FrozenDict({Self: object})))
