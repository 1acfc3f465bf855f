"""The changes as data, as a JSON Feed and as Atom.

Sources: JSON Feed version 1.1 (jsonfeed.org/version/1.1), Atom (RFC 4287). Both want absolute
addresses, which a site that opens from the disk does not know: ids are URNs, and links are relative
until `with_address` makes them absolute.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from acdc_pipeline.specs.head_scores import ROLES
from acdc_pipeline.text import pluralize
from acdc_pipeline.wiki.history.changes import Change, CircuitChange, Role
from acdc_pipeline.wiki.text import join_words, show_name

TITLE = "Head wiki: what changed"
JSON_PATH, ATOM_PATH, PAGE = "feed.json", "feed.xml", "changes.html"

_VERSION = "https://jsonfeed.org/version/1.1"
_ATOM = "http://www.w3.org/2005/Atom"
_MOST_ITEMS = 100
_MOST_HEADS = 12
"""Heads named in a sentence."""

# what no XML document may contain
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def headline(change: Change) -> str:
    """Return one line about a change."""
    name = show_name(change.title)
    parts = [pluralize(len(change.circuits), "circuit")] if change.circuits else []
    if change.profiles:
        parts.append("head scores" + (" and roles" if change.gained or change.lost else ""))
    what = join_words(parts) or pluralize(len(change.run_ids), "run")
    return f"{name}, new: {what}" if change.is_new else f"{name}: {what}"


def sentences(change: Change) -> Iterator[str]:
    """Yield what changed, each as a line of text."""
    if change.profiles:
        yield f"Heads profiled on {join_words(list(change.profiles))}."
    if not change.is_new:
        for verb, heads in (("New roles", change.gained), ("Roles gone", change.lost)):
            if heads:
                shown = [f"{head} {_roles(roles)}" for head, roles in heads.items()]
                more = len(shown) - _MOST_HEADS
                shown = [*shown[:_MOST_HEADS], *([f"{more} more heads"] if more > 0 else [])]
                yield f"{verb}: {'; '.join(shown)}."
    elif change.gained:
        yield f"{pluralize(len(change.gained), 'head')} with roles."
    groups: dict[tuple[str, str, bool], list[CircuitChange]] = {}
    for circuit in change.circuits:
        groups.setdefault((circuit.task, circuit.method, circuit.by_span), []).append(circuit)
    for (task, method, by_span), members in groups.items():
        where = ", by position" if by_span else ""
        yield f"{task}, {method}{where}: {'; '.join(map(_circuit, members))}."


def _roles(roles: Sequence[Role]) -> str:
    return ", ".join(ROLES[role].title + (f" on {on}" if on else "") for role, on in roles)


def _circuit(circuit: CircuitChange) -> str:
    size = "" if circuit.size is None else f"τ {circuit.size:g}: "
    text = f"{size}{pluralize(circuit.edges, 'edge')}"
    if circuit.compared_with is None:
        return text
    return (
        f"{text} ({circuit.added} new and {circuit.removed} gone since {circuit.compared_with[:8]})"
    )


def changes_document(changes: Sequence[Change]) -> dict[str, Any]:
    """Return all changes as data."""
    return {
        "format": "acdc-pipeline/head-wiki-changes",
        "version": 1,
        "changes": [change.plain() for change in changes],
    }


def versions_document(changes: Sequence[Change], kept: Sequence[Mapping[str, Any]] = ()) -> Any:
    """Return the data versions at the end of each day, newest first: of the site and of each model.

    Args:
        kept: the versions whose data files are kept beside those of the newest.
    """
    site: dict[str, str] = {}
    models: dict[str, list[tuple[str, str]]] = {}
    for change in changes:
        site.setdefault(change.site_version, change.day.isoformat())
        models.setdefault(change.slug, []).append((change.version, change.day.isoformat()))
    return {"site": list(site.items()), "models": models, "kept": list(kept)}


def feed_document(changes: Sequence[Change]) -> dict[str, Any]:
    """Return the newest changes as a JSON Feed whose links are relative."""
    return {
        "version": _VERSION,
        "title": TITLE,
        "language": "en",
        "items": [
            {
                "id": f"urn:acdc-wiki:{change.slug}:{change.version}",
                "_wiki": {"page": f"{PAGE}#v-{change.version}", "data_version": change.version},
                "title": headline(change),
                "content_text": "\n".join(sentences(change)) or headline(change),
                "date_published": f"{change.day.isoformat()}T00:00:00Z",
            }
            for change in changes[:_MOST_ITEMS]
        ],
    }


def with_address(feed: Mapping[str, Any], url: str) -> dict[str, Any]:
    """Return a feed with absolute links below `url`, which ends in a slash."""
    items = [{**item, "url": url + item["_wiki"]["page"]} for item in feed["items"]]
    return {**feed, "home_page_url": url, "feed_url": url + JSON_PATH, "items": items}


def atom(feed: Mapping[str, Any]) -> bytes:
    """Return a JSON Feed as Atom (RFC 4287)."""
    home = feed.get("home_page_url", "")
    root = ElementTree.Element("feed", {"xmlns": _ATOM, "xml:lang": "en"})
    _text(root, "id", home or "urn:acdc-wiki:changes")
    _text(root, "title", feed["title"])
    newest = max((item["date_published"] for item in feed["items"]), default="1970-01-01T00:00:00Z")
    _text(root, "updated", newest)
    _text(ElementTree.SubElement(root, "author"), "name", "acdc_pipeline")
    ElementTree.SubElement(root, "link", {"rel": "self", "href": home + ATOM_PATH})
    ElementTree.SubElement(root, "link", {"rel": "alternate", "href": home + PAGE})
    for item in feed["items"]:
        entry = ElementTree.SubElement(root, "entry")
        _text(entry, "id", item["id"])
        _text(entry, "title", item["title"])
        _text(entry, "updated", item["date_published"])
        link = item.get("url", item["_wiki"]["page"])
        ElementTree.SubElement(entry, "link", {"rel": "alternate", "href": link})
        _text(entry, "content", item["content_text"], type="text")
    ElementTree.indent(root, "")
    return b'<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root) + b"\n"


def _text(parent: ElementTree.Element, tag: str, text: str, **attributes: str) -> None:
    ElementTree.SubElement(parent, tag, attributes).text = _NOT_XML.sub("\ufffd", text)
