"""Discovery methods: pure computation, from a model and prompts to decisions or scores."""

from acdc_pipeline.algorithms.acdc import AcdcResult, EdgeSearch, acdc
from acdc_pipeline.algorithms.replay import Replay
from acdc_pipeline.algorithms.scoring import EdgeScores, ScoringProblem, score_edges

__all__ = [
    "AcdcResult",
    "EdgeScores",
    "EdgeSearch",
    "Replay",
    "ScoringProblem",
    "acdc",
    "score_edges",
]
