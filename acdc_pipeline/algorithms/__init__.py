"""Discovery methods: pure compute, one file each, all ending in the same circuit type."""

from acdc_pipeline.algorithms.acdc import AcdcResult, EdgeSearch, acdc
from acdc_pipeline.algorithms.question import EdgeScores, Question
from acdc_pipeline.algorithms.replay import Replay
from acdc_pipeline.algorithms.scorers import SCORERS

__all__ = ["SCORERS", "AcdcResult", "EdgeScores", "EdgeSearch", "Question", "Replay", "acdc"]
