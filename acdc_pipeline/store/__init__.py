"""Where runs are kept: schemas, atomic writing, verified reading."""

from acdc_pipeline.store.failure import RunFailure
from acdc_pipeline.store.leftover import Leftover
from acdc_pipeline.store.location import default_location
from acdc_pipeline.store.record import HeadScore, RunRecord, RunSummary
from acdc_pipeline.store.store import Store, open_store

__all__ = [
    "HeadScore",
    "Leftover",
    "RunFailure",
    "RunRecord",
    "RunSummary",
    "Store",
    "default_location",
    "open_store",
]
