"""The results store: schemas, atomic writes, verified reads."""

from acdc_pipeline.store.backends.base import Leftover
from acdc_pipeline.store.evaluation import Evaluations, StoredEvaluation
from acdc_pipeline.store.failure import RunFailure
from acdc_pipeline.store.figures import Figures, figures_of
from acdc_pipeline.store.location import default_location
from acdc_pipeline.store.record import HeadScore, RunRecord, RunSummary
from acdc_pipeline.store.store import Store, open_store

__all__ = [
    "Evaluations",
    "Figures",
    "HeadScore",
    "Leftover",
    "RunFailure",
    "RunRecord",
    "RunSummary",
    "Store",
    "StoredEvaluation",
    "default_location",
    "figures_of",
    "open_store",
]
