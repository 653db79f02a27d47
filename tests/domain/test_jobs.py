"""Revisions of jobs: what is a change of a job, and which of its rows counts."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import polars as pl
import pytest

from pipeline.domain import tables
from pipeline.domain.jobs import latest, revised
from tests.frames import NOW, jobs, shuffled

LATER = NOW + timedelta(hours=1)


def read(text: str) -> pl.DataFrame:
    """Jobs as they come from the print system."""
    return jobs(text).drop("site", "revision", "first_seen_at")


def again(seen: pl.DataFrame, known: pl.DataFrame) -> list[tuple[str, int, Decimal]]:
    """The rows that are new, by job, revision and cost."""
    found = tables.checked("print_jobs", revised(seen, known, "london", LATER))
    assert set(found["first_seen_at"]) <= {LATER}
    return found.select("job_id", "revision", "cost").rows()


def test_a_new_job_is_its_own_first_revision_and_each_change_is_the_next() -> None:
    known = jobs("job_id revision cost\n1 0 50\n2 4 50\n3 0 50")
    seen = read("job_id cost\n4 50\n3 50\n2 60\n1 50")
    assert again(seen, known) == [("2", 5, Decimal(60)), ("4", 0, Decimal(50))]


@pytest.mark.parametrize("column", ["username", "printer", "refunded", "shared_account", "printed", "allowed"])
def test_whatever_of_a_job_changes_is_a_revision(column: str) -> None:
    known, seen = jobs("job_id\n1"), read("job_id\n1")
    other = ~pl.col(column) if seen.schema[column] == pl.Boolean else pl.lit("other")
    assert len(again(seen.with_columns(other.alias(column)), known)) == 1
    assert again(seen, known) == []


def test_an_empty_value_that_stays_empty_is_no_change() -> None:
    assert again(read("job_id cost\n1 -"), jobs("job_id cost\n1 -")) == []


def test_of_a_job_that_was_read_twice_the_last_row_counts() -> None:
    assert again(read("job_id cost\n1 50\n1 60"), jobs("job_id")) == [("1", 0, Decimal(60))]


def test_the_latest_revision_of_each_job_in_the_order_of_time() -> None:
    rows = jobs(
        "job_id revision printed_at\n2 0 11-20T08:00\n1 0 11-20T09:00\n1 2 11-20T09:00\n1 1 11-20T09:00\n"
        "3 0 11-20T08:00"
    )
    for seed in range(3):
        assert latest(shuffled(rows, seed)).select("job_id", "revision").rows() == [("2", 0), ("3", 0), ("1", 2)]
