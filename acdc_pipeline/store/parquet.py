"""Parquet files as Arrow tables, read in the thread that asks."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq


def read_parquet(data: bytes) -> pa.Table:
    """The table in the Parquet file `data`, with its metadata.

    Not `pyarrow.parquet.read_table`: for tables of this size its threads gain nothing, and one
    that has not begun when Python ends aborts the process ("terminate called without an active
    exception", seen with pyarrow 26 in one of twelve commands on a busy machine).

    Raises:
        pyarrow.ArrowException, OSError: it is not a Parquet file.
    """
    return pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)
