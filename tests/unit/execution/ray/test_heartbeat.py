"""What a worker's search tells, and how it is stopped between two steps."""

from __future__ import annotations

import pytest

from acdc_pipeline.execution.progress import Progress
from acdc_pipeline.execution.ray.heartbeat import Cancelled, Heartbeat


def test_heartbeat_is_a_listener_to_searches():
    assert isinstance(Heartbeat(), Progress)


def test_heartbeat_position_is_that_of_the_last_decision():
    heartbeat = Heartbeat()
    heartbeat.begin("one")
    heartbeat.start(10, "a label")
    assert heartbeat.position == ("one", (0, 0, 10))
    heartbeat.advance(3, 1, 6)
    heartbeat.finish()
    assert heartbeat.position == ("one", (3, 1, 6))
    assert heartbeat.tested == 3


def test_heartbeat_begin_forgets_the_run_before():
    heartbeat = Heartbeat()
    heartbeat.begin("one")
    heartbeat.advance(3, 1, 6)
    heartbeat.begin("two")
    assert heartbeat.position == ("two", (0, 0, 0))


def test_heartbeat_stopped_raises_at_the_next_step_and_at_every_one_after_it():
    heartbeat = Heartbeat()
    heartbeat.begin("one")
    heartbeat.stop()
    with pytest.raises(Cancelled):
        heartbeat.advance(1, 0, 9)
    with pytest.raises(Cancelled):
        heartbeat.start(10, "the next search")
