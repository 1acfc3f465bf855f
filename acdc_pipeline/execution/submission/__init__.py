"""Sweeps as jobs of a Ray cluster.

Only `jobs` imports ray.
"""

from acdc_pipeline.execution.submission.address import ClusterAddress, find_address, parse_address
from acdc_pipeline.execution.submission.cluster import (
    Cluster,
    Token,
    check_protected,
    find_token,
    reach,
)
from acdc_pipeline.execution.submission.job import Job, find_job
from acdc_pipeline.execution.submission.submission import (
    Bundle,
    Submission,
    bundle_of,
    other_version,
    run_command,
)

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
    "find_job",
    "find_token",
    "other_version",
    "parse_address",
    "reach",
    "run_command",
]
