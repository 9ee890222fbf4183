"""Reads Parquet. A module of its own, because a logged model, which reads none, carries all that its code imports."""

from typing import cast

import polars as pl


def read_parquet(data: bytes) -> pl.DataFrame:
    """Returns the table in the bytes of a Parquet file. Raises what `errors.readable` reports.

    The reader is Arrow's: that of polars ends the whole process where a page promises more than any memory holds.
    """
    import pyarrow as pa  # deferred: both take 0.4 s to import
    from pyarrow import parquet

    file = parquet.ParquetFile(pa.BufferReader(data))
    parts = [file.read_row_group(place) for place in range(file.num_row_groups)]  # all at once it reads no structs
    table = pa.concat_tables([file.schema_arrow.empty_table(), *parts])
    table.validate(full=True)  # polars takes over without a look what may be no UTF-8
    return cast(pl.DataFrame, pl.from_arrow(table))
