"""Hosts of static pages, and which of their limits a site exceeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_SMALLER = "build it from a store with fewer models"


@dataclass(frozen=True)
class Host:
    """A host, with the limits of its free plan as its documentation states them.

    Args:
        site_bytes, file_bytes: largest site and file, in bytes; None for no limit.
        files, folder_files: most files of a site, and directly inside of one folder.
        more: how to get more files.
        source: where the limits are documented.
    """

    title: str
    source: str
    site_bytes: int | None = None
    file_bytes: int | None = None
    files: int | None = None
    folder_files: int | None = None
    more: str = ""

    def problems(self, sizes: Mapping[str, int]) -> Iterator[tuple[str, str]]:
        """Yield each limit that files, given by path with their bytes, exceed, and the fix."""
        if self.files is not None and len(sizes) > self.files:
            more = f", or {self.more}" if self.more else ""
            yield f"{len(sizes):,} files, at most {self.files:,}", _SMALLER + more
        total = sum(sizes.values())
        if self.site_bytes is not None and total > self.site_bytes:
            yield (
                f"{total:,} bytes, at most {self.site_bytes:,}",
                f"{_SMALLER}, or keep fewer versions",
            )
        largest = max(sizes, key=lambda path: (sizes[path], path), default="")
        if self.file_bytes is not None and sizes.get(largest, 0) > self.file_bytes:
            problem = f"{largest} has {sizes[largest]:,} bytes, at most {self.file_bytes:,} a file"
            yield problem, _SMALLER
        folders = Counter(path.rpartition("/")[0] for path in sizes)
        folder, count = max(folders.items(), key=lambda item: item[1], default=("", 0))
        if self.folder_files is not None and count > self.folder_files:
            name = folder or "the first folder"
            yield f"{name} has {count:,} files, at most {self.folder_files:,} a folder", _SMALLER


HOSTS: Mapping[str, Host] = {
    "github": Host(
        title="GitHub Pages",
        site_bytes=1_000_000_000,
        # of a branch; an artifact of a workflow has no such limit
        file_bytes=100 * 2**20,
        source="docs.github.com/pages/getting-started-with-github-pages/github-pages-limits, "
        "docs.github.com/repositories/working-with-files/managing-large-files",
    ),
    "cloudflare": Host(
        title="Cloudflare Pages",
        files=20_000,
        file_bytes=25 * 2**20,
        more="use a paid plan, which has 100,000 with PAGES_WRANGLER_MAJOR_VERSION=4",
        source="developers.cloudflare.com/pages/platform/limits",
    ),
    "netlify": Host(
        title="Netlify",
        folder_files=54_000,
        source="docs.netlify.com/site-deploys/overview",
    ),
}
