"""Differences that a person accepted: explained as long as they are the same."""

from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl
import pytest

from pipeline.domain import tables
from pipeline.domain.money.acceptance import agreed

DAY, NEXT = date(2026, 11, 20), date(2026, 11, 21)


def row(job: str, unexplained: int, explained: int = 0) -> dict[str, Any]:
    zero = dict.fromkeys(("printed_cents", "ledger_cents", "sale_cents", "nexudus_cents"), 0)
    finding = f"Job {job}: off." if unexplained else "ok"
    told = {"explained_cents": explained, "unexplained_cents": unexplained, "finding": finding}
    return {"site": "london", "day": DAY, "job_id": job, **zero, **told}


ROWS = pl.DataFrame([row("7", 30, 5), row("8", 30), row("9", 0)], schema=tables.columns("reconciliation"))


@pytest.mark.parametrize(
    ("job", "day", "cents", "unexplained"),
    [
        ("7", DAY, 30, [0, 30, 0]), ("8", DAY, 30, [30, 0, 0]), ("7", DAY, 29, [30, 30, 0]),
        ("7", NEXT, 30, [30, 30, 0]), ("9", DAY, 0, [30, 30, 0]),
    ],
)  # fmt: skip
def test_the_same_cents_of_the_same_job_and_day_are_explained(
    job: str, day: date, cents: int, unexplained: list[int]
) -> None:
    said = pl.DataFrame({"day": [day], "job_id": [job], "cents": [cents], "operator": ["ann"], "reason": ["a gift"]})
    found = tables.checked("reconciliation", agreed(ROWS, said))
    assert found["unexplained_cents"].to_list() == unexplained
    both = pl.col("explained_cents") + pl.col("unexplained_cents")
    assert found.select(both).equals(ROWS.select(both)), "no cent is lost"
    told = "Job 7: off. ann accepted 30 cents: a gift."
    assert (told in found["finding"].to_list()) == (unexplained[0] == 0)
