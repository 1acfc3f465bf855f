"""The results store: schemas, atomic writes, verified reads."""

from acdc_pipeline.store.backends.base import Leftover as Leftover
from acdc_pipeline.store.evaluation import Evaluations as Evaluations
from acdc_pipeline.store.evaluation import StoredEvaluation as StoredEvaluation
from acdc_pipeline.store.failure import RunFailure as RunFailure
from acdc_pipeline.store.figures import Figures as Figures
from acdc_pipeline.store.figures import figures_of as figures_of
from acdc_pipeline.store.location import default_location as default_location
from acdc_pipeline.store.record import HeadScore as HeadScore
from acdc_pipeline.store.record import RunRecord as RunRecord
from acdc_pipeline.store.record import RunSummary as RunSummary
from acdc_pipeline.store.run_list import RunList as RunList
from acdc_pipeline.store.store import Store as Store
from acdc_pipeline.store.store import as_store as as_store
from acdc_pipeline.store.store import open_store as open_store
