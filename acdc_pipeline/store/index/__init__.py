"""The index of a store: a catalogue of its runs in Parquet, rebuilt from the runs where it differs.

The commit markers decide which runs exist; the index only saves reading them. `rows` defines its
columns, `parts` its files, and `catalogue` compares it with the runs of the store.
"""

from acdc_pipeline.store.index.catalogue import FoundRuns as FoundRuns
from acdc_pipeline.store.index.catalogue import Wanted as Wanted
from acdc_pipeline.store.index.catalogue import equal as equal
from acdc_pipeline.store.index.catalogue import find_runs as find_runs
from acdc_pipeline.store.index.correction import SILENT as SILENT
from acdc_pipeline.store.index.correction import IndexListener as IndexListener
from acdc_pipeline.store.index.parts import append_to_index as append_to_index
