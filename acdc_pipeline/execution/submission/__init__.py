"""Sweeps as jobs of a Ray cluster.

Only `jobs` imports ray.
"""

from acdc_pipeline.execution.submission.address import ClusterAddress as ClusterAddress
from acdc_pipeline.execution.submission.address import find_address as find_address
from acdc_pipeline.execution.submission.address import parse_address as parse_address
from acdc_pipeline.execution.submission.cluster import Cluster as Cluster
from acdc_pipeline.execution.submission.cluster import Token as Token
from acdc_pipeline.execution.submission.cluster import check_protected as check_protected
from acdc_pipeline.execution.submission.cluster import find_token as find_token
from acdc_pipeline.execution.submission.cluster import reach as reach
from acdc_pipeline.execution.submission.job import Job as Job
from acdc_pipeline.execution.submission.job import find_job as find_job
from acdc_pipeline.execution.submission.submission import Bundle as Bundle
from acdc_pipeline.execution.submission.submission import Submission as Submission
from acdc_pipeline.execution.submission.submission import bundle_of as bundle_of
from acdc_pipeline.execution.submission.submission import other_version as other_version
from acdc_pipeline.execution.submission.submission import run_command as run_command
