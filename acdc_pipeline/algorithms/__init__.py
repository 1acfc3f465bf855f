"""Discovery methods: pure compute, one file each, all ending in the same circuit type."""

from acdc_pipeline.algorithms.acdc import AcdcResult, EdgeSearch, acdc
from acdc_pipeline.algorithms.replay import Replay

__all__ = ["AcdcResult", "EdgeSearch", "Replay", "acdc"]
