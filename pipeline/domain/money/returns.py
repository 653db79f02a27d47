"""Pages taken back by rows that do not name their print: which print each takes back, and what stays to be charged.

What belongs here: when a match is sure, and the cost of what is left. What does not: finding such rows
(`pipeline.services.job_files.taken_back`), and reversing a charge (`charges.py`).

A match is sure where one print alone fits: of the same person, printer, paper, sides, copies and colour, with as many
pages left, and printed at the moment of the row, or else at any time before it. Where two fit, or none, nothing is
taken back, and a person says which. A row once settled is never looked at again: the next print that fits stays whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import polars as pl

from pipeline.domain.money.attribution import counts
from pipeline.domain.money.prices import COST

Row = dict[str, Any]

_ALIKE = ("username", "printer", "paper", "duplex", "copies")


class Match(NamedTuple):
    """What one row takes back: the print, or None with those that fit and the reason for the doubt."""

    row_id: str
    job_id: str | None
    prints: tuple[str, ...]
    reason: str


def matched(rows: pl.DataFrame, jobs: pl.DataFrame, known: pl.DataFrame) -> list[Match]:
    """Match new rows with prints, the oldest row first.

    Args:
        rows: row_id, stamped_at (UTC), username, printer, paper, duplex, copies, pages, color_pages.
        jobs: PrintJobs, the latest revision of each job of these people.
        known: the rows that were read before: row_id, stamped_at, username, printer, pages, and job_id, or null.
    """
    taken = dict(known.drop_nulls("job_id").group_by("job_id").agg(pl.col("pages").sum()).iter_rows())
    told, found = known.to_dicts(), list[Match]()
    prints = jobs.filter(counts()).sort("printed_at", "job_id").to_dicts()
    for row in rows.filter(~pl.col("row_id").is_in(known["row_id"].implode())).sort("stamped_at", "row_id").to_dicts():
        match = _match(row, prints, taken, told)
        if match.job_id:
            taken[match.job_id] = taken.get(match.job_id, 0) + row["pages"]
        told.append(row)
        found.append(match)
    return found


def _match(row: Row, prints: Iterable[Row], taken: dict[str, int], told: Iterable[Row]) -> Match:
    fitting = [job for job in prints if _fits(row, job, taken)]
    ids = tuple(job["job_id"] for job in fitting)
    if again := next((each["row_id"] for each in told if _looks_like(row, each)), None):
        return Match(row["row_id"], None, ids, f"it may be row {again}, which was read before")
    at_once = [job for job in fitting if job["printed_at"] == row["stamped_at"]]
    if not fitting:
        return Match(row["row_id"], None, ids, "no print that was read fits")
    if len(at_once or fitting) > 1:
        return Match(row["row_id"], None, ids, "several prints fit")
    job = (at_once or fitting)[0]
    if job["twin"] is not None:
        return Match(row["row_id"], None, ids, "the print that fits may be another one's twin")
    if not divisible(job["pages"], job["color_pages"], row["pages"]):
        return Match(row["row_id"], None, ids, "the print has grey and colour pages, and the row does not say which")
    return Match(row["row_id"], job["job_id"], ids, "no other print fits")


def _fits(row: Row, job: Row, taken: dict[str, int]) -> bool:
    return (
        all(row[name] == job[name] for name in _ALIKE)
        and (row["color_pages"] > 0) == (job["color_pages"] > 0)
        and job["printed_at"] <= row["stamped_at"]
        and job["pages"] - taken.get(job["job_id"], 0) >= row["pages"]
    )


def _looks_like(row: Row, other: Row) -> bool:
    """Whether a row may be another one under other words, as prints are renamed in a later report."""
    same = sum(row[name] == other[name] for name in ("username", "printer"))
    return (row["stamped_at"], row["pages"]) == (other["stamped_at"], other["pages"]) and same > 0


def divisible(pages: int, color_pages: int, taken: int) -> bool:
    """Whether it is known what so many pages of a print cost: all of it, or a part of pages of one kind."""
    return taken == pages or color_pages in (0, pages)


def lowered(jobs: pl.DataFrame, taken: pl.DataFrame) -> pl.DataFrame:
    """The jobs with the cost of what is left of them; one of which nothing is left is refunded and keeps its cost.

    Args:
        jobs: job_id, pages, color_pages, cost as of the whole print, refunded.
        taken: job_id, pages: what was taken back.
    """
    if taken.is_empty():
        return jobs
    left = pl.col("pages") - pl.col("taken")
    each, parts = pl.col("cost").cast(pl.Int64) // pl.col("pages"), pl.col("left").is_between(1, pl.col("pages") - 1)
    return (
        jobs.join(
            taken.group_by("job_id").agg(taken=pl.col("pages").sum()), on="job_id", how="left", maintain_order="left"
        )
        .with_columns(left=left)
        .with_columns(
            cost=pl.when(parts.fill_null(value=False)).then((each * pl.col("left")).cast(COST)).otherwise("cost"),
            refunded=pl.col("refunded") | (pl.col("left") <= 0).fill_null(value=False),
        )
        .select(jobs.columns)
    )
