"""Print jobs as the warehouse keeps them: every revision of every row.

What belongs here: telling a new or changed row from one that was read again. What does not: what a job costs whom
(`pipeline.domain.money`).
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from pipeline.domain import tables

_KEPT = ("site", "revision", "first_seen_at")


def revised(read: pl.DataFrame, latest: pl.DataFrame, site: str, now: datetime) -> pl.DataFrame:
    """The rows of a read that are new, or differ from the latest revision that is stored.

    Args:
        read: rows of a job source, and twin.
        latest: PrintJobs, the latest revision of each of these jobs that is stored.
        site: the site.
        now: time of the read, UTC.

    Returns:
        PrintJobs: the rows to append.
    """
    content = [name for name in tables.columns("print_jobs").names() if name not in _KEPT]
    known = latest.select(*content, "revision")
    return (
        read.select(content)
        .unique("job_id", keep="last", maintain_order=True)
        .join(known, on=content, how="anti", nulls_equal=True)
        .join(known.select("job_id", "revision"), on="job_id", how="left")
        .with_columns(
            site=pl.lit(site),
            revision=pl.col("revision").fill_null(-1) + 1,
            first_seen_at=pl.lit(now, dtype=pl.Datetime("us", "UTC")),
        )
        .select(tables.columns("print_jobs").names())
        .sort("job_id")
    )


def latest(revisions: pl.DataFrame) -> pl.DataFrame:
    """The latest revision of each job."""
    return revisions.sort("revision").unique("job_id", keep="last").sort("printed_at", "job_id")
