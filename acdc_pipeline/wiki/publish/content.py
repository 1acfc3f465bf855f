"""The files of a published site: those of the build, and those that only a published one has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import quote, urlsplit

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.specs.base import read_json
from acdc_pipeline.wiki.dumps import DUMPS
from acdc_pipeline.wiki.history.feeds import ATOM_PATH, JSON_PATH, atom, with_address
from acdc_pipeline.wiki.model_data import encode_json, encode_script

VERSIONS = "data/versions"

_OF_SITE = re.compile(
    "|".join(re.escape(name).replace(r"\.parquet", r"(\.\d+)?\.parquet") for name in DUMPS)
    + r"|(build|changes|schema|search)\.json"
)
"""Data files of the whole site that are not kept; large tables go on in `all.scores.1.parquet`."""

_SITEMAP_URLS = 50_000
"""Addresses in one file, at most (sitemaps.org/protocol.html)."""

_NOT_FOUND = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Not found · Head wiki</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="stylesheet" href="{root}assets/wiki.css"></head>
<body><main id="main"><h1>There is no such page</h1>
<p>A page of this name may have been on an earlier version of the site.
<p><a href="{root}index.html">Home</a> · <a href="{root}search.html">Search</a> · <a \
href="{root}m/index.html">Models</a> · <a href="{root}changes.html">What changed</a></main></body>
</html>
"""


def check_address(url: str) -> str:
    """Return the address of a site with a slash at its end. Raises InvalidInput for any other."""
    # RFC 3986, section 2; letters of other scripts are left to browsers
    is_site = re.search(r'[\x00-\x20\x7f-\xa0<>"\\^`{|}]', url) is None and url.isprintable()
    try:
        parts = urlsplit(url)
        is_site = is_site and parts.scheme in ("http", "https") and parts.port != 0
        is_site = is_site and bool(parts.hostname) and not parts.query and not parts.fragment
    except ValueError:  # a port or an IPv6 address that cannot be
        is_site = False
    if not is_site:
        raise InvalidInput(
            f"'{url}' is not the address of a site",
            field="url",
            allowed="https://HOST/ or https://HOST/FOLDER/",
        )
    return url if url.endswith("/") else f"{url}/"


def extra_files(pages: Sequence[str], url: str | None) -> Iterator[tuple[str, bytes]]:
    """Yield the files for hosts and search engines.

    Args:
        pages: paths of all pages.
        url: address of the site; without one there is no sitemap, which has absolute addresses, and
            the page of missing pages links to the root of the host.
    """
    # GitHub Pages leaves out what Jekyll would, unless this file is there
    yield ".nojekyll", b""
    root = "/" if url is None else urlsplit(url).path
    yield "404.html", _NOT_FOUND.format(root=escape(root)).encode()
    robots = "User-agent: *\nAllow: /\n"
    if url is not None:
        robots += f"Sitemap: {url}sitemap.xml\n"
        yield from _sitemaps(pages, url)
    yield "robots.txt", robots.encode()


def _sitemaps(pages: Sequence[str], url: str) -> Iterator[tuple[str, bytes]]:
    parts = [pages[i : i + _SITEMAP_URLS] for i in range(0, len(pages), _SITEMAP_URLS)] or [()]
    if len(parts) == 1:
        yield "sitemap.xml", _sitemap("urlset", "url", [url + quote(page) for page in parts[0]])
        return
    for number, part in enumerate(parts, start=1):
        path = f"sitemap.{number}.xml"
        yield path, _sitemap("urlset", "url", [url + quote(page) for page in part])
    names = [f"{url}sitemap.{number}.xml" for number in range(1, len(parts) + 1)]
    yield "sitemap.xml", _sitemap("sitemapindex", "sitemap", names)


def _sitemap(tag: str, item: str, addresses: Sequence[str]) -> bytes:
    lines = "\n".join(f"<{item}><loc>{escape(address)}</loc></{item}>" for address in addresses)
    kind = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{tag} {kind}>\n{lines}\n</{tag}>\n'.encode()


def absolute_feeds(feed: bytes, url: str) -> dict[str, bytes]:
    """Return the feeds with absolute addresses, from the JSON Feed of the build."""
    document = with_address(read_json(feed), url)
    return {JSON_PATH: encode_json(document), ATOM_PATH: atom(document)}


def versions_script(script: bytes, kept: Sequence[Mapping[str, Any]]) -> bytes:
    """Return the script of the data versions with those whose files are kept."""
    document = json.loads(script[script.index(b",") + 1 : script.rindex(b")")])
    return encode_script("versions", {**document, "kept": list(kept)})


def archived_path(version: str, path: str) -> str | None:
    """Return where `index.json` or a file of a model goes when its version is kept; else None."""
    folder, _, name = path.rpartition("/")
    is_data = folder == "data" and name.endswith((".json", ".parquet"))
    return f"{VERSIONS}/{version}/{name}" if is_data and not _OF_SITE.fullmatch(name) else None
