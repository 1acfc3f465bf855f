"""Text from outside as readers see it: nothing invisible, nothing endless, no character that a page
cannot hold."""

from __future__ import annotations

import unicodedata

LONGEST_NAME = 72
"""Characters of a name before its middle gives way."""

LONGEST_TOKEN = 24

_BLANKS = {" ": "·", "\n": "⏎", "\r": "␍", "\t": "⇥", "\N{NO-BREAK SPACE}": "⍽"}
_LINE = {"\n": " ", "\r": " ", "\t": " ", "\N{NO-BREAK SPACE}": "\N{NO-BREAK SPACE}"}

# What scripts need inside words and emoji; harmless, and wrong to take away.
_JOINERS = "\u200c\u200d"


def plain(text: str) -> str:
    """`text` on one line, with every control or direction character made visible."""
    if text.isprintable():
        return text
    return "".join(_LINE.get(c) or _visible(c, _JOINERS) for c in text)


def name(text: str, longest: int = LONGEST_NAME) -> str:
    """`plain`, in at most `longest` characters, `…` in place of the middle."""
    # A name of megabytes is cut before every character of it is looked at.
    shown = plain(_shortened(text, 8 * longest))
    return _shortened(shown, longest)


def token(text: str) -> str:
    """A token as it is shown: blanks and everything else that cannot be seen have a sign."""
    if text.isprintable():
        shown = text.replace(" ", _BLANKS[" "])
    else:
        shown = "".join(_BLANKS.get(c) or _visible(c, "") for c in text[: 4 * LONGEST_TOKEN])
    return _shortened(shown, LONGEST_TOKEN) if shown else "∅"


def words(text: str) -> str:
    """A token inside running text: its spaces stay spaces, what else cannot be seen has a sign."""
    if text.isprintable():
        return text[:96]
    kept = " \N{NO-BREAK SPACE}"
    return "".join(c if c in kept else _BLANKS.get(c) or _visible(c, "") for c in text[:96])


def _visible(character: str, kept: str) -> str:
    if character.isprintable() or character in kept:
        return character
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if unicodedata.category(character) == "Zs":
        return " "
    return "\ufffd" if 0xD800 <= code < 0xE000 else f"⟨U+{code:04X}⟩"


def _shortened(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    end = (longest - 1) // 2
    return text[: longest - 1 - end] + "…" + text[len(text) - end :]
