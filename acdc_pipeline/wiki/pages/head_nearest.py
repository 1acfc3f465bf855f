"""What the page of a head says of its nearest heads, replaced in the page of the last build.

The rest of such a page is the same where only heads of other models changed; to render it again,
the profiles of its model would have to be read.
"""

from __future__ import annotations

import re

from jinja2 import Environment

from acdc_pipeline.heads.habits import lead_role
from acdc_pipeline.wiki.models import HeadIndex
from acdc_pipeline.wiki.pages.sure import describe_alike
from acdc_pipeline.wiki.site import Section

_LIST = re.compile(r"<ul class=near>.*?</ul>")
_ALIKE = re.compile(r"\d+ of its \d+ nearest heads in other models behave alike")


def replace_nearest(
    page: bytes, section: Section, place: HeadIndex, templates: Environment
) -> bytes | None:
    """Return the page of a head with its nearest heads replaced by those of `section`.

    None where this is not sure to be what rendering it gives: the page has no such list, its head
    has no nearest heads any more, or a text that would be replaced occurs more than once.
    """
    near = section.nearest.get(place, ())
    roles = section.model.roles.get(place, ())
    if not near or not roles:
        return None
    shown = templates.get_template("_relatives.html").module.nearest_heads(near)  # type: ignore[attr-defined]
    alike = describe_alike(lead_role(roles), near)
    text, lists = _LIST.subn(lambda _: str(shown), page.decode("utf-8"))
    text, sentences = _ALIKE.subn(lambda _: "".join(alike), text)
    return text.encode("utf-8") if (lists, sentences) == (1, len(alike)) else None
