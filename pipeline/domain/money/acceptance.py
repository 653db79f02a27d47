"""Acceptance: a difference of the books that a person took as it is counts as explained, as long as it is the same.

What belongs here: what an acceptance makes of the rows of a day. What does not: finding differences (`reconcile.py`).
"""

from __future__ import annotations

import polars as pl


def agreed(rows: pl.DataFrame, accepted: pl.DataFrame) -> pl.DataFrame:
    """The rows of a day, in which what was accepted is explained; another number of cents is a new question.

    Args:
        rows: Reconciliation.
        accepted: day, job_id, cents, operator, reason; at most one row for a day and job.

    Returns:
        Reconciliation, in the order of rows.
    """
    off, same = pl.col("unexplained_cents"), pl.col("unexplained_cents") == pl.col("cents")
    return (
        rows.join(accepted, on=["day", "job_id"], how="left", maintain_order="left")
        .with_columns(same=(same & (off != 0)).fill_null(value=False))
        .with_columns(
            explained_cents=pl.col("explained_cents") + pl.when("same").then(off).otherwise(0),
            unexplained_cents=pl.when("same").then(0).otherwise(off),
            finding=pl.when("same")
            .then(pl.format("{} {} accepted {} cents: {}.", "finding", "operator", "cents", "reason"))
            .otherwise("finding"),
        )
        .select(rows.columns)
    )
