"""Cells of job files: counts, flags and moments in the forms that PaperCut writes."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.services.job_files.cells import YEARS, Moments, flag, whole


def read(text: str, *others: str, day_first: bool | None = None) -> str:
    return str(Moments(lambda: (text, *others), day_first=day_first)(text).at)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-05 15:04:05", "2026-11-05T15:04:05"),
        ("2026-11-05 3:04:05 PM", "2026-11-05T15:04:05"),
        ("2026-11-05 3:04:05\u202fp.m.", "2026-11-05T15:04:05"),  # newer Java writes a narrow space
        ("2026-11-05 3:04:05 p.\u00a0m.", "2026-11-05T15:04:05"),  # ... and Spanish two of them
        ("2026-11-05 12:00:00 AM", "2026-11-05T00:00:00"),
        ("2026-11-05 12:00:00 PM", "2026-11-05T12:00:00"),
        ("2026-11-05T15:04:05.123", "2026-11-05T15:04:05"),
        ("2026/11/5 15:04:05", "2026-11-05T15:04:05"),
        ("5.11.2026 15.04.05", "2026-11-05T15:04:05"),  # dots: the day is first in every locale
        ("Nov 5, 2026, 3:04:05 PM", "2026-11-05T15:04:05"),
        ("05-nov-2026 15:04:05", "2026-11-05T15:04:05"),
        ("5 juil. 2026 15:04:05", "2026-07-05T15:04:05"),
        ("5 de noviembre de 2026 15:04:05", "2026-11-05T15:04:05"),
        ("5. März 2026, 15:04:05", "2026-03-05T15:04:05"),
    ],
)
def test_moments_of_every_form(text: str, expected: str) -> None:
    moment = Moments(lambda: [text])(text)
    assert (moment.at, moment.exact) == (datetime.fromisoformat(expected), True)


def test_a_moment_without_a_second_says_so() -> None:
    moment = Moments(list)("2026-11-05T15:04")
    assert (moment.at, moment.exact) == (datetime.fromisoformat("2026-11-05 15:04"), False)


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-30 10:00:00", "2026-11-05 24:00:00", "2026-11-05 13:00:00 PM", "0001-01-01 00:00:00",
        "9999-12-31 23:59:59", "1999-12-31 23:59:59", "2068-01-01 00:00:00", "2026-11-05T10:00+01",
        "30 feb 2026 10:00:00", "2026-13-05 1:00:00 PM",
    ],
)  # fmt: skip
def test_a_moment_that_never_was_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"there is no such time|the time is not written as"):
        read(text)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-11-05", "05/11/26 10:00:00", "5 Foo 2026 10:00:00"])
def test_what_is_no_moment_is_refused_with_the_form_wanted(text: str) -> None:
    with pytest.raises(ValueError, match="the time is not written as 2026-11-20 15:04:05"):
        read(text)


def test_the_whole_file_shows_whether_the_day_or_the_month_is_first() -> None:
    assert read("05/11/2026 9:00:10", "06/11/2026 9:00:10", "13/11/2026 9:00:10") == "2026-11-05 09:00:10"
    assert read("05/11/2026 9:00:10", "11/13/2026 9:00:10") == "2026-05-11 09:00:10"


def test_the_setting_shows_it_where_the_file_cannot() -> None:
    assert read("05-11-2026 9:00:10", day_first=True) == "2026-11-05 09:00:10"
    assert read("05-11-2026 9:00:10", day_first=False) == "2026-05-11 09:00:10"


def test_a_date_that_can_be_read_in_two_ways_is_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match=r"no row of the file shows which; set jobs\.dates"):
        read("05/11/2026 9:00:10", "06/11/2026 9:00:10")
    with pytest.raises(ValueError, match="some dates of the file have the day first and others the month"):
        read("05/11/2026 9:00:10", "13/11/2026 9:00:10", "11/13/2026 9:00:10")


@given(st.datetimes(*(datetime.fromisoformat(f"{YEARS[at]}-06-01") for at in (0, -1))))
def test_every_form_of_a_moment_is_the_same_moment(at: datetime) -> None:
    at = at.replace(microsecond=0)
    half = f"{at:%I:%M:%S} {'AM' if at.hour < 12 else 'PM'}"
    day_first, month_first = f"{at:%d/%m/}{at.year:04} {half}", f"{at:%m/%d/}{at.year:04} {half.lower()}"
    forms = [f"{at}", f"{at:%Y-%m-%d} {half}", f"{at:%b %d, %Y} {half}", f"{at:%d.%m.%Y %H.%M.%S}"]
    assert {read(form) for form in forms} == {str(at)}
    assert read(day_first, day_first=True) == read(month_first, day_first=False) == str(at)


@given(st.text())
def test_no_text_breaks_a_reader(text: str) -> None:
    for reader in (read, lambda text: whole("pages", text), lambda text: flag("duplex", text)):
        with suppress(ValueError):
            reader(text)


@pytest.mark.parametrize(
    ("text", "expected"), [("", 0), ("7", 7), ("1,234", 1234), ("1.234", 1234), ("1\u202f234\u202f567", 1234567)]
)
def test_counts(text: str, expected: int) -> None:
    assert whole("pages", text) == expected


@pytest.mark.parametrize("text", ["-4", "4.0", "1,2", "٤", "99999999999", "9223372036854775808", "1e3", "1,234.567"])
def test_what_is_no_count_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="pages is not a whole number"):
        whole("pages", text)


@pytest.mark.parametrize(
    ("text", "expected"), [("Y", True), ("Sí", True), ("not duplex", False), ("DUPLEX", True), ("No", False)]
)
def test_flags(text: str, expected: bool) -> None:
    assert flag("duplex", text) is expected
