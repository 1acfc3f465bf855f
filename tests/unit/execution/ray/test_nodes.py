"""Whether the status that Ray's monitor leaves tells of an autoscaler."""

from __future__ import annotations

import json

import pytest

from acdc_pipeline.execution.ray.nodes import is_autoscaled


def status(active: dict[str, int] | None) -> bytes:
    return json.dumps({"time": 0.0, "autoscaler_report": {"active_nodes": active}}).encode()


@pytest.mark.parametrize(
    ("found", "autoscaled"),
    [
        (None, False),
        (b"", False),
        (json.dumps({"time": 0.0}).encode(), False),
        (status(None), False),
        (status({}), False),
        # Ray watches nodes that somebody started by hand under names of its own.
        (status({"node_cc7d24": 1, "node_99": 1}), False),
        (status({"headgroup": 1}), True),
        (status({"ray.head.default": 1, "ray.worker.gpu": 3}), True),
    ],
)
def test_is_autoscaled(found: bytes | None, autoscaled: bool):
    assert is_autoscaled(found) == autoscaled
