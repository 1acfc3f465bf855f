"""Formulas of scores as MathML, which browsers draw without any program."""

from __future__ import annotations

import re

from latex2mathml.converter import convert
from markupsafe import Markup


def mathml(latex: str) -> Markup:
    """`latex` as a `<math>` element, with the LaTeX as its description.

    Only formulas of this package come here, so the result counts as markup.
    """
    element = convert(latex, display="block")
    return Markup(re.sub(r"\s+", " ", element))
