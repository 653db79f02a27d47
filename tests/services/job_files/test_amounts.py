"""Costs of job files in every locale, read exactly or not at all."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.services.job_files.amounts import Amounts
from pipeline.services.printing import as_credits

SIGNS = ("", "Credits", "$", "€", "R$", "CHF", "kr.", "S/.", "zł", "₹", "ر.س.", "Cr")
LOCALES = ((",", "."), (".", ","), (" ", ","), ("\u00a0", ","), ("\u202f", ","), ("'", "."), ("\u2019", "."))
"""Thousands and decimal sign: English, German, French in three widths, Swiss in two."""


def read(text: str, *others: str) -> Decimal | None:
    return Amounts(lambda: (text, *others))(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("0", "0"),
        ("12", "12"),
        ("30 Credits", "30"),  # the very sign that docs/setup.md demands
        ("30\u00a0Credits", "30"),
        ("Credits 30.00", "30"),
        ("1,234 Credits 30.00", None),
        ("$0.10", "0.1"),
        ("1.50 €", "1.5"),
        ("-2.5", "-2.5"),
        ("-$2.50", "-2.5"),
        ("$-2.50", "-2.5"),
        ("($2.50)", "-2.5"),
        ("\u22122.50", "-2.5"),
        ("1,50", "1.5"),
        (".50", "0.5"),
        ("1,234.50", "1234.5"),
        ("1.234,50", "1234.5"),
        ("1 234,50", "1234.5"),
        ("1\u202f234,50 €", "1234.5"),
        ("CHF 1\u2019234.50", "1234.5"),
        ("1 500", "1500"),
        ("1.234.567", "1234567"),
        ("12,34,567.50", "1234567.5"),  # India
        ("٣", "3"),
        ("\u200f\u0661\u066c\u0662\u0663\u0664\u066b\u0665\u0660 ر.س.", "1234.5"),
        ("0.125", "0.125"),
        ("0.1234567", "0.123457"),
    ],
)
def test_costs_of_files(text: str, expected: str | None) -> None:
    if text and expected is None:
        with pytest.raises(ValueError, match="cost is not an amount"):
            read(text)
    else:
        assert read(text) == (Decimal(expected) if expected else None)


@pytest.mark.parametrize(
    "text",
    [
        "1.2.3",
        "1e3",
        "nan",
        "--1",
        "Letter",
        "30%",
        "12 34",
        "1,23,4",
        "0,123,456",
        "(5",
        "=5",
        "1.234,5.6",
        "1,234'567",
    ],
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="cost is not an amount"):
        read(text)


def test_the_file_decides_what_one_cell_leaves_open() -> None:
    assert read("1,234 Credits", "30 Credits", "2.50 Credits") == 1234
    assert read("1,234", "2,50") == Decimal("1.234")
    assert read("1.234", "1.234.567") == 1234
    assert read("1.234", "0.125") == Decimal("1.234")
    assert read("1,234", "9,876.50") == 1234


@pytest.mark.parametrize(
    ("others", "proof"), [([], "no cell"), (["30 Credits", "4,567"], "no cell"), (["2.50", "2,50"], "cells of both")]
)
def test_an_amount_that_stays_open_is_refused_with_the_remedy(others: list[str], proof: str) -> None:
    with pytest.raises(ValueError, match=f"can be read in two ways.* shows {proof}.*export it with two decimals"):
        read("1,234", *others)


@given(st.integers(-(10**9), 10**9), st.sampled_from(LOCALES), st.data())
def test_two_decimals_are_read_exactly_in_every_locale(
    cents: int, locale: tuple[str, str], data: st.DataObject
) -> None:
    thousands, decimal = locale
    sign, gap = data.draw(st.sampled_from(SIGNS)), data.draw(st.sampled_from(["", " ", "\u00a0", "\u202f"]))
    number = f"{abs(cents) // 100:,}".replace(",", thousands) + f"{decimal}{abs(cents) % 100:02}"
    text = data.draw(st.sampled_from([f"{sign}{gap}{number}", f"{number}{gap}{sign}"]))
    assert read(f"-{text}" if cents < 0 else text) == Decimal(cents) / 100


@given(st.lists(st.integers(1000, 999_999), min_size=1), st.sampled_from(LOCALES))
def test_whole_amounts_are_read_exactly_or_not_at_all(amounts: list[int], locale: tuple[str, str]) -> None:
    thousands, decimal = locale
    cells = [f"{amount:,}".replace(",", thousands) for amount in amounts]
    for amount, cell in zip(amounts, cells, strict=True):
        assert read(cell, *cells, f"0{decimal}50") == amount
        if thousands in ",.":
            with pytest.raises(ValueError, match="in two ways"):
                read(cell, *cells)


@given(st.text(max_size=30))
def test_no_text_breaks_the_reader(text: str) -> None:
    try:
        amount = read(text)
    except ValueError:
        return
    assert amount is None or amount.is_finite()


@given(st.integers(-(10**17), 10**17).map(lambda millionths: millionths / 10**6))
def test_credits_are_the_shortest_reading_of_a_double(value: float) -> None:
    assert float(as_credits(value)) == pytest.approx(value, abs=5e-7, rel=0)
    assert as_credits(as_credits(value)) == as_credits(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e12, "x", "999999999999.9999999"])
def test_credits_refuse_what_is_no_amount(value: float | str) -> None:
    with pytest.raises(ValueError, match="is not a"):
        as_credits(value)
