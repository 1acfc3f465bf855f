"""What a worker's search tells, and how it is stopped between two steps."""

from __future__ import annotations

import pytest

from acdc_pipeline.execution.progress import Progress
from acdc_pipeline.execution.ray.actor import RunCancelled, SharedProgress


def test_shared_progress_is_a_listener_to_searches():
    assert isinstance(SharedProgress(), Progress)


def test_shared_progress_position_is_that_of_the_last_decision():
    progress = SharedProgress()
    progress.begin("one")
    progress.start(10, "a label")
    assert progress.position == ("one", (0, 0, 10))
    progress.advance(3, 1, 6)
    progress.finish()
    assert progress.position == ("one", (3, 1, 6))
    assert progress.tested == 3


def test_shared_progress_begin_forgets_the_run_before():
    progress = SharedProgress()
    progress.begin("one")
    progress.advance(3, 1, 6)
    progress.begin("two")
    assert progress.position == ("two", (0, 0, 0))


def test_shared_progress_stopped_raises_at_the_next_step_and_at_every_one_after_it():
    progress = SharedProgress()
    progress.begin("one")
    progress.cancel()
    with pytest.raises(RunCancelled):
        progress.advance(1, 0, 9)
    with pytest.raises(RunCancelled):
        progress.start(10, "the next search")
