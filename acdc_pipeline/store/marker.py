"""The commit marker: which files make a run, and the hash of each."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from acdc_pipeline.specs import SCHEMA_VERSION
from acdc_pipeline.specs.base import read_json
from acdc_pipeline.store import layout
from acdc_pipeline.store.codec import json_bytes
from acdc_pipeline.store.errors import damaged_run, newer_run

_damaged = partial(damaged_run, field=layout.MARKER)


@dataclass(frozen=True, slots=True)
class FileEntry:
    """Hash and size of one committed file."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Marker:
    """The content of `_COMMIT.json`.

    Args:
        attempt: subfolder that holds the files; None where they are in the folder of the marker.
    """

    run_id: str
    attempt: str | None
    files: Mapping[str, FileEntry]

    @classmethod
    def of(cls, run_id: str, files: Mapping[str, bytes], attempt: str | None = None) -> Marker:
        entries = {
            name: FileEntry(hashlib.sha256(data).hexdigest(), len(data))
            for name, data in files.items()
        }
        return cls(run_id, attempt, entries)

    def encode(self) -> bytes:
        """Return the bytes of the marker file, always the same for the same marker."""
        return json_bytes(
            {
                "schema_version": SCHEMA_VERSION,
                "run_id": self.run_id,
                "attempt": self.attempt,
                "files": {
                    name: {"sha256": entry.sha256, "size": entry.size}
                    for name, entry in self.files.items()
                },
            }
        )

    @classmethod
    def parse(cls, run_id: str, data: bytes) -> Marker:
        """Return the marker in the file of run `run_id`.

        Raises:
            NewerRun: it was written under a later schema version.
            DamagedRun: it is not a marker, is another run's, was written under an earlier schema
                version, or names a file that a run does not have.
        """
        try:
            document = read_json(data)
            # Checked first: a newer marker may hold anything else.
            version = document["schema_version"]
            if type(version) is int and version > SCHEMA_VERSION:
                raise newer_run(run_id, version, SCHEMA_VERSION)
            owner = document["run_id"]
            attempt = document["attempt"]
            files = {
                name: FileEntry(str(entry["sha256"]), int(entry["size"]))
                for name, entry in document["files"].items()
            }
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(run_id, f"not a commit marker ({error!r})") from error
        if version != SCHEMA_VERSION:
            raise _damaged(
                run_id,
                f"written under schema version {version}; this program reads {SCHEMA_VERSION}",
            )
        if owner != run_id:
            raise _damaged(run_id, f"commits run {owner}")
        if attempt is not None and not (isinstance(attempt, str) and layout.is_attempt(attempt)):
            raise _damaged(run_id, f"{attempt!r} is not an attempt")
        if unknown := sorted(set(files) - set(layout.FILES)):
            raise _damaged(run_id, f"names {unknown[0]!r}, which is not a file of a run")
        return cls(run_id, attempt, files)

    def path_of(self, name: str) -> str:
        """Return the path of the file `name`, relative to the folder of the run."""
        return f"{self.attempt}/{name}" if self.attempt else name

    def check_size(self, name: str, size: int | None) -> None:
        """Raises DamagedRun unless the file `name` is there and has the size committed."""
        if size is None:
            raise damaged_run(self.run_id, f"{name} is missing")
        if size != (committed := self.files[name].size):
            problem = f"{size} bytes where {committed} were committed"
            raise damaged_run(self.run_id, problem, field=name)

    def check(self, name: str, data: bytes) -> None:
        """Raises DamagedRun unless `data` is what was committed as `name`."""
        self.check_size(name, len(data))
        if hashlib.sha256(data).hexdigest() != self.files[name].sha256:
            problem = "content differs from what was committed (sha256)"
            raise damaged_run(self.run_id, problem, field=name)
