"""Text on pages: formatted numbers, names and tokens without invisible characters, file names."""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections.abc import Iterable, Sequence

MISSING = "–"

MAX_NAME = 72
MAX_TOKEN = 24
_MAX_WORDS = 96
_MAX_SLUG = 60

_BLANKS = {" ": "·", "\n": "⏎", "\r": "␍", "\t": "⇥", "\N{NO-BREAK SPACE}": "⍽"}
_LINE = {"\n": " ", "\r": " ", "\t": " "} | {
    space: space for space in ("\N{NO-BREAK SPACE}", "\N{NARROW NO-BREAK SPACE}")
}

# scripts and emoji need these inside words
_JOINERS = "\u200c\u200d"

# device names of Windows, whatever follows the first dot
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)")


def format_number(value: float | None, digits: int = 3) -> str:
    """Format with significant digits: `0.931`, `−1.2`, `12,300`; never `-0`."""
    if value is None or math.isnan(value):
        return MISSING
    if value and (abs(value) < 1e-4 or abs(value) >= 1e6):
        return f"{value:.{digits - 1}e}".replace("-", "−").replace("e+0", "e").replace("e−0", "e−")
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0
    text = f"{value:,.{min(decimals, 4)}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "0") else text.replace("-", "−")


def format_aligned(value: float | None, digits: int = 3) -> str:
    """Format for a column, with trailing zeros: `0.500`, `12.0`; whole numbers as `1`.

    At most four decimals.
    """
    if value is None or math.isnan(value):
        return MISSING
    size = abs(value)
    if size < 1e-4:
        return "≈0" if size else "0"
    if size == int(size):
        decimals = 0
    else:
        decimals = min(4, max(0, digits - 1 - math.floor(math.log10(size))))
    return f"{'−' if value < 0 else ''}{size:,.{decimals}f}"


def format_fixed(value: float | None, decimals: int = 2) -> str:
    """Format with a fixed number of decimals."""
    if value is None or math.isnan(value):
        return MISSING
    text = f"{value:,.{decimals}f}"
    return text.replace("-", "−") if float(text.replace(",", "")) else text.lstrip("-")


def format_signed(value: float | None) -> str:
    """Format an effect with two decimals and its sign: `+0.50`, `−1.20`."""
    text = format_fixed(value)
    return f"+{text}" if value is not None and value > 0 else text


def format_percent(share: float | None) -> str:
    """Format a share: `3.2 %`, `50 %`; one decimal below 10 %."""
    if share is None or math.isnan(share):
        return MISSING
    value = 100 * share
    text = f"{value:.0f}" if abs(value) >= 9.95 else f"{value:.1f}"
    sign = "−" if float(text) < 0 else ""  # 0.0, never -0.0
    return f"{sign}{text.lstrip('-')}\N{NARROW NO-BREAK SPACE}%"


def abbreviate(value: float) -> str:
    """Format with two digits and a unit: `500`, `2k`, `85M`, `1.5B`."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{format_number(value / size, 2)}{unit}"
    return format_number(value, 2)


def pluralize(count: int, noun: str) -> str:
    """`1 head`, `1,024 heads`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def join_words(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def show_line(text: str) -> str:
    """Return `text` on one line, with control and direction characters made visible."""
    # percentages contain narrow spaces
    if text.isprintable() or text.replace("\N{NARROW NO-BREAK SPACE}", "").isprintable():
        return text
    return "".join(_LINE.get(c) or _visible(c, _JOINERS) for c in text)


def show_name(text: str, longest: int = MAX_NAME) -> str:
    """Return `show_line`, with `…` in place of the middle if it is too long."""
    # very long names are cut before each character is examined
    return _shorten(show_line(_shorten(text, 8 * longest)), longest)


def show_token(text: str) -> str:
    """Return a token with symbols for spaces and other invisible characters."""
    if text.isprintable():
        shown = text.replace(" ", _BLANKS[" "])
    else:
        shown = "".join(_BLANKS.get(c) or _visible(c, "") for c in text[: 4 * MAX_TOKEN])
    return _shorten(shown, MAX_TOKEN) if shown else "∅"


def show_words(text: str) -> str:
    """Return a token inside a text: `show_token`, but spaces stay."""
    text = text[:_MAX_WORDS]
    if text.isprintable():
        return text
    kept = " \N{NO-BREAK SPACE}"
    return "".join(c if c in kept else _BLANKS.get(c) or _visible(c, "") for c in text)


def assign_slugs(names: Iterable[str], reserved: Iterable[str] = ()) -> dict[str, str]:
    """Return a file name for each name: short, lower case, safe on every system, and unique.

    Depends on the set of names only. Eight digits of the sha256 of the name are appended if the
    slug loses more than capitals and separators, if two names have the same slug, or if it is
    reserved.
    """
    plain = {name: _slug(name) for name in sorted(set(names))}
    taken: dict[str, int] = dict.fromkeys(reserved, 1)
    for slug in plain.values():
        taken[slug] = taken.get(slug, 0) + 1
    return {
        # only the separators of model references may be replaced without a digest
        name: slug
        if taken[slug] == 1 and re.sub(r"[:/_@ -]", "-", name.lower()) == slug
        else f"{slug}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
        for name, slug in plain.items()
    }


def _slug(name: str) -> str:
    text = re.sub(r"[^a-z0-9.]+", "-", name.lower()[: 4 * _MAX_SLUG])[:_MAX_SLUG].strip("-.")
    while ".." in text:
        text = text.replace("..", ".")
    return f"x-{text}" if not text or _DEVICES.match(text) else text


def _visible(character: str, kept: str) -> str:
    if character.isprintable() or character in kept:
        return character
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if unicodedata.category(character) == "Zs":
        return " "
    return "\ufffd" if 0xD800 <= code < 0xE000 else f"⟨U+{code:04X}⟩"


def _shorten(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    end = (longest - 1) // 2
    return text[: longest - 1 - end] + "…" + text[len(text) - end :]
