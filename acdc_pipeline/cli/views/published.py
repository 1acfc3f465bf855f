"""What `acdc wiki publish` says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from acdc_pipeline.cli.terminal.text import relative_path
from acdc_pipeline.text import pluralize

if TYPE_CHECKING:
    from acdc_pipeline.wiki.publish.publish import Published


def published_facts(published: Published, dry_run: bool) -> dict[str, str]:
    """Return what was published, and which hosts it fits."""
    sent = f"{pluralize(len(published.written), 'file')} ({published.written_bytes / 1e6:.1f} MB)"
    gone = f"{len(published.removed):,}"
    facts = {
        "published to" if not dry_run else "would publish to": relative_path(published.where),
        "data version": published.version,
        "files": f"{published.files:,} ({published.bytes / 1e6:.1f} MB)",
        "would send"
        if dry_run
        else "sent": f"{sent}, {'would remove' if dry_run else 'removed'} {gone}",
    }
    if published.kept:
        facts["earlier versions"] = ", ".join(published.kept)
    for title, problems in published.exceeded.items():
        said = "; ".join(f"{problem} ({fix})" for problem, fix in problems)
        facts[title] = f"too much: {said}" if problems else "within its limits"
    return facts


def published_document(published: Published, dry_run: bool) -> dict[str, Any]:
    """Return the same as JSON, with every path."""
    return {
        "target": published.where,
        "dry_run": dry_run,
        "data_version": published.version,
        "files": published.files,
        "bytes": published.bytes,
        "written": list(published.written),
        "written_bytes": published.written_bytes,
        "removed": list(published.removed),
        "kept": list(published.kept),
        "exceeded": {
            title: [{"problem": problem, "fix": fix} for problem, fix in problems]
            for title, problems in published.exceeded.items()
        },
    }
