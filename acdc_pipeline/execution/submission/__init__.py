"""Sweeps as jobs of a Ray cluster: what travels, under which name, and what becomes of it.

What talks to a cluster through Ray's client stands in `jobs`, `submit` and `cancel`, which import
ray, and what looks at stores in `disk`; nothing here needs either.
"""

from acdc_pipeline.execution.submission.address import ClusterAddress, find_address, parse_address
from acdc_pipeline.execution.submission.bundle import Bundle, bundle_of
from acdc_pipeline.execution.submission.cluster import Cluster, check_protected, reach
from acdc_pipeline.execution.submission.job import Job, named
from acdc_pipeline.execution.submission.submission import Submission, run_command
from acdc_pipeline.execution.submission.token import Token, find_token
from acdc_pipeline.execution.submission.version import other_version

__all__ = [
    "Bundle",
    "Cluster",
    "ClusterAddress",
    "Job",
    "Submission",
    "Token",
    "bundle_of",
    "check_protected",
    "find_address",
    "find_token",
    "named",
    "other_version",
    "parse_address",
    "reach",
    "run_command",
]
