"""Which print a row takes pages back of: sure where one alone fits, a person's business everywhere else."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.money.returns import Match, lowered, matched
from pipeline.services.printing import RETURNS
from tests.frames import jobs, moment, table

KNOWN = pl.DataFrame(schema={**RETURNS, "job_id": pl.String})


def back(text: str) -> pl.DataFrame:
    """Rows that take ten pages of c1@example.com back, an hour after the jobs of `jobs`."""
    return table(
        RETURNS, text, stamped_at=moment("11-20T10:00"), username="c1@example.com", printer="hall", pages=10,
        color_pages=0, copies=1, duplex=False,
    )  # fmt: skip


def only(rows: pl.DataFrame, printed: pl.DataFrame, known: pl.DataFrame = KNOWN) -> Match:
    (match,) = matched(rows, printed, known)
    return match


ROW = back("row_id\nR")


def test_the_one_print_that_fits_is_it_whole_or_in_part() -> None:
    assert only(ROW, jobs("job_id\n1")).job_id == "1"
    assert only(back("row_id pages\nR 4"), jobs("job_id\n1")).job_id == "1"


@pytest.mark.parametrize(
    "text",
    [
        "job_id username\n1 c2@example.com", "job_id printer\n1 attic", "job_id paper\n1 A3", "job_id duplex\n1 y",
        "job_id copies\n1 2", "job_id color_pages\n1 10", "job_id pages\n1 9", "job_id printed_at\n1 11-20T10:01",
        "job_id refunded\n1 y", "job_id printed\n1 n",
    ],
)  # fmt: skip
def test_a_print_of_which_anything_differs_is_not_it(text: str) -> None:
    match = only(ROW, jobs(text))
    assert (match.job_id, match.prints, match.reason) == (None, (), "no print that was read fits")


def test_two_prints_that_fit_are_shown_and_neither_is_taken() -> None:
    match = only(ROW, jobs("job_id pages\n1 10\n2 30"))
    assert (match.job_id, match.prints, match.reason) == (None, ("1", "2"), "several prints fit")


def test_the_print_of_the_very_moment_is_it_although_older_ones_fit() -> None:
    printed = jobs("job_id printed_at\n1 11-20T09:00\n2 11-20T10:00")
    assert only(ROW, printed).job_id == "2"


def test_a_part_of_grey_and_colour_pages_is_not_sure_and_all_of_them_is() -> None:
    printed, part = jobs("job_id pages color_pages\n1 10 3"), back("row_id pages color_pages\nR 4 1")
    assert only(part, printed).job_id is None
    assert only(back("row_id color_pages\nR 3"), printed).job_id == "1"


def test_what_one_row_took_is_not_there_for_the_next() -> None:
    twice = matched(back("row_id stamped_at\nR 11-20T10:00\nS 11-20T10:01"), jobs("job_id pages\n1 15"), KNOWN)
    assert [match.job_id for match in twice] == ["1", None]


def test_a_row_is_matched_once_and_one_that_may_be_it_is_a_persons_business() -> None:
    known = ROW.with_columns(job_id=pl.lit("1"))
    printed = jobs("job_id\n1\n2")
    assert matched(ROW, printed, known) == []
    renamed = only(back("row_id printer\nS hall2"), jobs("job_id printer\n1 hall\n2 hall2"), known)
    assert (renamed.job_id, renamed.reason) == (None, "it may be row R, which was read before")


def test_a_twin_is_never_taken_for_sure() -> None:
    assert only(ROW, jobs("job_id twin\n1 7")).job_id is None


def test_what_is_left_costs_its_share_and_of_nothing_left_the_job_is_refunded() -> None:
    printed = jobs("job_id pages cost\n1 10 50\n2 10 50\n3 10 50")
    taken = pl.DataFrame({"job_id": ["1", "1", "2"], "pages": [3, 1, 10]})
    rows = lowered(printed, taken).select(pl.col("cost").cast(pl.Int64), "refunded").rows()
    assert rows == [(30, False), (50, True), (50, False)]


NUMBERS = st.lists(st.integers(1, 6), min_size=1, max_size=5)


@given(NUMBERS, NUMBERS, st.randoms(use_true_random=False))
def test_never_more_is_taken_than_was_printed_in_any_order_of_rows(
    pages: list[int], taken: list[int], chance: Any
) -> None:
    printed = jobs("job_id").clear() if not pages else pl.concat(
        [jobs(f"job_id pages printed_at\n{at} {number} 11-20T09:{at:02}") for at, number in enumerate(pages)]
    )  # fmt: skip
    rows = pl.concat(
        [back(f"row_id pages stamped_at\nR{at} {number} 11-20T10:{at:02}") for at, number in enumerate(taken)]
    )  # fmt: skip
    shuffled = rows.sample(fraction=1, shuffle=True, seed=chance.randrange(1000))
    found = matched(rows, printed, KNOWN)
    assert found == matched(shuffled, printed, KNOWN), "the order of rows decides nothing"
    by_row = dict(rows.select("row_id", "pages").iter_rows())
    sums: dict[str, int] = {}
    for match in found:
        if match.job_id:
            assert match.prints == (match.job_id,), "taken only where one alone fits"
            sums[match.job_id] = sums.get(match.job_id, 0) + by_row[match.row_id]
    assert all(number <= pages[int(job_id)] for job_id, number in sums.items())
