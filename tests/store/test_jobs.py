"""Stored jobs on a real file: the questions of a run find what the pure rules find, over any revisions.

What belongs here: `pipeline/store/jobs.py`. What does not: what a job costs whom.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain import tables
from pipeline.domain.money.attribution import attributed, counts, unattributed
from pipeline.domain.money.history import NO_PAST, charged_times
from pipeline.store import assignments, jobs
from pipeline.store.sql import insert
from pipeline.store.warehouse import Warehouse
from tests.frames import rules
from tests.stores import NOW, transaction

SINCE = NOW - timedelta(days=60)
TIME = pl.Datetime("us", "UTC")
NAMES = pl.DataFrame(
    {"username": ["ann", "bob"], "owned_from": [NOW - timedelta(days=90)] * 2, "coworker_id": [1, 2],
     "email_key": ["a", "b"]},
    schema={"username": pl.String, "owned_from": TIME, "coworker_id": pl.Int64, "email_key": pl.String},
)  # fmt: skip


@st.composite
def revisions(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Revisions of a few jobs of two sites, which use the same ids; a later one may differ in anything that decides."""
    found: list[dict[str, Any]] = []
    for number in range(draw(st.integers(0, 8))):
        printed_at, seen = NOW - timedelta(hours=draw(st.integers(0, 24 * 63))), draw(st.integers(0, 70))
        found += [
            {
                "site": "leeds" if number % 3 == 2 else "london", "job_id": f"{number // 3}{number % 3 % 2}",
                "revision": revision, "printed_at": printed_at,
                "username": draw(st.sampled_from(["ann", "bob", "guest", "staff"])),
                "printer": draw(st.sampled_from(["p1", "p2"])), "pages": draw(st.integers(0, 3)), "color_pages": 0,
                "copies": 1, "duplex": False, "paper": None,
                "cost": draw(st.sampled_from([Decimal(0), Decimal(0), Decimal(7), None])),
                "allowed": draw(st.integers(0, 4)) > 0, "printed": draw(st.integers(0, 4)) > 0,
                "refunded": draw(st.integers(0, 4)) == 0, "job_type": draw(st.sampled_from(["PRINT", "COPY", "SCAN"])),
                "shared_account": draw(st.integers(0, 4)) == 0, "twin": None,
                "first_seen_at": NOW - timedelta(days=seen / (revision + 1)),
            }
            for revision in range(draw(st.integers(1, 3)))
        ]  # fmt: skip
    return found


def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=tables.columns("print_jobs"), orient="row")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("jobs")


numbers = itertools.count()
"""Of the files."""


def stored(folder: Path, rows: list[dict[str, Any]], waived: str) -> Warehouse:
    """A warehouse with some jobs, one of which a person waived."""
    store = Warehouse(folder / f"{next(numbers)}.duckdb")
    with transaction(store) as con:
        insert(con, "print_jobs", frame(rows))
        assignments.record(con, "london", waived, None, operator="o", reason="r", at=NOW)
    return store


@given(rows=revisions(), waived=st.sampled_from(["00", "01", "10", "99"]), charged=st.integers(0, 62))
def test_the_questions_of_a_run_find_what_the_rules_find(
    folder: Path, rows: list[dict[str, Any]], waived: str, charged: int
) -> None:
    site = rules(charge_from=NOW - timedelta(days=charged))
    times = charged_times(NO_PAST, site)
    with stored(folder, rows, waived).connect() as con:
        every = jobs.recent(con, "london", SINCE)
        ours = jobs.concerning(con, "london", SINCE, NAMES)
        assert attributed(ours, NAMES).equals(attributed(every, NAMES))
        assert ours.join(every, on=ours.columns, how="anti", nulls_equal=True).is_empty(), (
            "and the latest revision of each"
        )

        nobodys = unattributed(every, NAMES, site, assigned=assignments.assigned(con, "london"))
        said = jobs.ownerless(con, "london", SINCE, NAMES, times, examples=2)
        for why in ("never ours", "shared account"):
            wanted, found = nobodys.filter(why=why), said.filter(why=why).to_dicts()
            assert [each["jobs"] for each in found] == ([wanted.height] if wanted.height else [])
            for each in found:
                assert each["cost"] == (wanted["cost"].sum() or 0)
                assert [job["job_id"] for job in each["first"]] == wanted["job_id"].head(2).to_list()

        sums = (
            every.filter(counts()).group_by(pl.col("printed_at").dt.truncate("15m")).agg(pl.col("pages", "cost").sum())
        )
        assert (
            jobs.printed(con, "london", SINCE)
            .select("printed_at", "pages")
            .equals(sums.sort("printed_at").select("printed_at", "pages"))
        )

        week = NOW - timedelta(days=40)
        kept = every.filter(
            counts(), pl.col("printed_at") >= max(week, site.charge_from), pl.col("job_type").is_in(["PRINT", "COPY"]),
            pl.col("pages") > 0,
        )  # fmt: skip
        found = jobs.free_printers(con, "london", week, times, in_a_row=2).to_dicts()
        assert found == list(free(kept, in_a_row=2))


def free(kept: pl.DataFrame, *, in_a_row: int) -> Iterator[dict[str, Any]]:
    """The printers whose last jobs cost nothing, one by one."""
    for printer in sorted(set(kept["printer"])):
        of_printer = kept.filter(printer=printer).sort("printed_at", "job_id").to_dicts()
        last = list(itertools.takewhile(lambda job: job["cost"] == 0, reversed(of_printer)))
        if last and (len(last) >= in_a_row or len(last) == len(of_printer)):
            yield {"printer": printer, "jobs": len(last), "since": last[-1]["printed_at"], "job_id": last[0]["job_id"]}
