"""The label of a run whose layers are read from files."""

from __future__ import annotations

from acdc_pipeline.execution.progress import Progress, Silent
from acdc_pipeline.execution.read_progress import with_reads


class Heard(Progress):
    """Notes every event."""

    def __init__(self) -> None:
        self.events: list[tuple[object, ...]] = []

    def start(self, total_edges: int, label: str) -> None:
        self.events.append(("start", total_edges, label))

    def advance(self, tested: int, kept: int, left: int) -> None:
        self.events.append(("advance", tested, kept, left))

    def finish(self) -> None:
        self.events.append(("finish",))


def test_the_label_names_the_gibibytes_that_a_pass_reads():
    heard = Heard()
    progress = with_reads(heard, 3 * 2**29)
    progress.start(10, "ioi on dir:model")
    progress.advance(3, 1, 7)
    progress.finish()
    assert heard.events == [
        ("start", 10, "ioi on dir:model (layers read from files, 1.5 GiB a pass)"),
        ("advance", 3, 1, 7),
        ("finish",),
    ]


def test_a_model_in_memory_leaves_the_listener_as_it_is():
    silent = Silent()
    assert with_reads(silent, 0) is silent
