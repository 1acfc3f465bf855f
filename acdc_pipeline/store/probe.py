"""Whether two processes see the same store: one writes a probe into it, the other looks for it.

A folder of the same name on the disk of another node is another store: runs committed there are
invisible to all other processes.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

from acdc_pipeline.errors import StoreError
from acdc_pipeline.store import layout
from acdc_pipeline.store.errors import storage_errors
from acdc_pipeline.store.store import Store


@dataclass(frozen=True)
class StoreProbe:
    """An empty file of a unique name in a store.

    Where the process that wrote it is killed, it is removed with the leftovers of the store.
    """

    store: Store
    name: str = field(default_factory=layout.new_probe_name)

    def write(self) -> None:
        with storage_errors(self.store.url):
            self.store.backend.write(b"", layout.TMP, self.name)

    def remove(self) -> None:
        backend = self.store.backend
        with storage_errors(self.store.url), suppress(FileNotFoundError):
            backend.fs.rm_file(backend.path(layout.TMP, self.name))

    def check_visible(self, host: str) -> None:
        """Raise StoreError unless this process, on the machine `host`, sees the file."""
        with storage_errors(self.store.url):
            self.store.backend.refresh()
            visible = self.store.backend.exists(layout.TMP, self.name)
        if not visible:
            raise StoreError(
                f"is another store on {host} than where the sweep was started",
                where=self.store.url,
                fix="use a folder that all nodes share, or an object store: "
                "--store s3://bucket/path",
            )
