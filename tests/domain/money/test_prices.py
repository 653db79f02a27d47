"""What a page costs: the first price that matches, by what held when it was printed."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.money.history import ACCESS, Past, eras, kept
from pipeline.domain.money.prices import priced
from pipeline.domain.rules import Price
from tests.frames import jobs, moment, rules

MONO, COLOUR = Price(5, colour=False), Price(25, colour=True)
JOB = "job_id printed_at printer paper pages color_pages duplex cost"


def cost(rows: str, *prices: Price, past: Past | None = None) -> list[Decimal | None]:
    given_ = past or Past(pl.DataFrame(schema=ACCESS))
    return priced(jobs(f"{JOB}\n{rows}"), given_, rules(prices=prices))["cost"].to_list()


@pytest.mark.parametrize(
    ("row", "prices", "wanted"),
    [
        ("1 11-20T09:00 hall A4 4 0 n -", (MONO, COLOUR), 20),
        ("1 11-20T09:00 hall A4 4 1 n -", (MONO, COLOUR), 40),
        ("1 11-20T09:00 hall A4 4 4 n -", (MONO, COLOUR), 100),
        ("1 11-20T09:00 hall A4 4 4 n -", (MONO,), None),
        ("1 11-20T09:00 hall A4 4 1 n -", (MONO,), None),
        ("1 11-20T09:00 hall A3 1 0 n -", (Price(9, paper="a3"), MONO), 9),
        ("1 11-20T09:00 hall - 1 0 n -", (Price(9, paper="A3"), MONO), 5),
        ("1 11-20T09:00 hall - 1 0 n -", (Price(9, paper="A3"),), None),
        ("1 11-20T09:00 hall A4 2 0 y -", (Price(3, duplex=True), MONO), 6),
        ("1 11-20T09:00 HALL-2 A4 1 0 n -", (Price(7, printer="hall*"), MONO), 7),
        ("1 11-20T09:00 x.hall A4 1 0 n -", (Price(7, printer="x?hall"), MONO), 5),
        ("1 11-20T09:00 hall A4 1 0 n -", (Price(0, printer="hall"), MONO), 0),
        ("1 11-20T09:00 hall A4 4 5 n -", (MONO, COLOUR), None),
        ("1 11-20T09:00 hall A4 -4 0 n -", (MONO, COLOUR), None),
        ("1 11-20T09:00 hall A4 4 0 n 77", (MONO, COLOUR), 77),
        ("1 11-20T09:00 hall A4 4 0 n -", (), None),
    ],
)
def test_the_first_price_that_matches_counts_and_a_page_without_one_has_no_cost(
    row: str, prices: tuple[Price, ...], wanted: int | None
) -> None:
    assert cost(row, *prices) == [wanted]


def past_of(*known: tuple[str, tuple[Price, ...]]) -> Past:
    """Rules that were remembered from some moments on, each with its prices."""
    return Past(pl.DataFrame(schema=ACCESS), tuple((moment(at), kept(rules(prices=prices))) for at, prices in known))


def test_a_job_keeps_the_price_of_its_time_and_the_first_later_one_where_there_was_none() -> None:
    past = past_of(("11-01T00:00", (MONO,)), ("11-10T00:00", (Price(50, colour=False),)))
    rows = "1 11-05T09:00 hall A4 1 0 n -\n2 11-15T09:00 hall A4 1 0 n -\n3 11-05T09:00 hall A4 1 1 n -"
    assert cost(rows, Price(50, colour=False), past=past) == [5, 50, None]
    assert cost(rows, Price(50, colour=False), Price(80, colour=True), past=past) == [5, 50, 80]
    assert cost(rows, Price(99, colour=False), past=past) == [5, 50, None], "a change holds from now on"


def test_prices_are_remembered_as_they_are_and_none_leaves_no_trace() -> None:
    some = (Price(5, printer="A*", paper="A4", colour=True, duplex=False), MONO)
    now = replace(rules(prices=some), charge_from=moment("01-01T00:00"))
    past = Past(pl.DataFrame(schema=ACCESS), ((moment("11-01T00:00"), kept(now)),))
    assert [era.rules.prices for era in eras(past, now)] == [some, some]
    assert "prices" not in kept(rules())


@given(
    pages=st.integers(0, 10**6), share=st.floats(0, 1), grey=st.integers(0, 1000), colour=st.integers(0, 1000),
    day=st.integers(1, 28),
)  # fmt: skip
def test_the_cost_is_grey_pages_and_colour_pages_at_their_own_price(
    pages: int, share: float, grey: int, colour: int, day: int
) -> None:
    coloured = int(pages * share)
    at = f"11-{day:02}T00:00"
    row = f"1 {at} hall A4 {pages} {coloured} n -"
    assert cost(row, Price(grey, colour=False), Price(colour, colour=True)) == [
        (pages - coloured) * grey + coloured * colour
    ]
