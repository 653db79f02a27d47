"""Refunds of a site on ezeep through the whole run: rows that take pages back, and prints that a later report lacks.

What belongs here: the money in Nexudus after each. What does not: when a match is sure
(`tests/domain/money/test_returns.py`), and which report lacks a print (`tests/services/job_files/test_taken_back.py`).
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from pipeline.domain.money.reconcile import summary
from pipeline.errors import UnsafeError
from pipeline.operations import returns
from pipeline.operations.causes import causes
from pipeline.operations.held import decide, waiting
from pipeline.steps.reconcile import compare
from tests.commands import printbridge
from tests.harness import Harness
from tests.steps.test_ezeep import SITE, lisbon, printed, synced, totals
from tests.worlds import TODAY, credit, printer_customer

REREAD = {"printbridge/reread_days": "45"}
MONEY = ("nexudus_credits", "print_jobs", "print_charges", "nexudus_print_charges")


def begun(harness: Harness, *numbers: int) -> None:
    """People who have logged in."""
    synced(harness)
    for number in numbers or (1,):
        harness.accept(f"c{number}@example.com")


def refunded(harness: Harness, job: str, how: str = "negative", pages: int | None = None) -> None:
    """Staff take a print back, and a later report says so; the night's reading follows."""
    part = {} if pages is None else {"pages": pages}
    body = {"site": SITE, "job_id": job, "how": how, **part}
    harness.control.post("refund", json=body).raise_for_status()
    harness.advance(minutes=1)
    harness.report(SITE)
    ran(harness, **REREAD)


def charged(harness: Harness) -> None:
    """A new report, and a run that charges what it says."""
    harness.advance(minutes=1)
    harness.report(SITE)
    ran(harness)


def told(harness: Harness) -> list[str]:
    return sorted(cause.kind for cause in causes(harness.sites, []))


def in_order(harness: Harness) -> None:
    """The books agree, and another reading of all reports changes nothing."""
    before = totals(harness), harness.credits()
    ran(harness, **REREAD)
    assert (totals(harness), harness.credits()) == before
    day = compare(harness.sites[SITE], date.fromisoformat(TODAY))
    assert summary(day.frame)["unexplained_cents"] == 0, day.frame


def ran(harness: Harness, **tags: str) -> None:
    """A run that works, of the steps that have to do with money, and two minutes later."""
    outcome = harness.sync(SITE, MONEY, checks=False, **tags)
    assert outcome.ok, outcome.failures
    harness.advance(minutes=2)


def small(harness: Harness) -> str:
    """The print of one page."""
    with harness.sites.store.connect() as con:
        ((found,),) = con.execute("SELECT job_id FROM print_jobs WHERE pages = 1").fetchall()
    return found


# --- rows that take pages back ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pages", "left"), [(None, []), (1, [0.15])])
def test_a_row_with_pages_below_0_takes_the_one_print_back_that_fits(
    folder: Path, pages: int | None, left: list[float]
) -> None:
    with lisbon(folder, [printer_customer(1), printer_customer(2)], [credit(901, 2, 20)]) as harness:
        begun(harness, 1, 2)
        job, of_credits = (printed(harness, number, pages=4) for number in (1, 2))
        charged(harness)
        assert (totals(harness), harness.credits()) == ([0.20], {901: 0})
        refunded(harness, of_credits)
        refunded(harness, job, pages=pages)
        assert (totals(harness), harness.credits()) == (left, {901: 20})
        assert told(harness) == []
        in_order(harness)


def test_a_row_is_taken_once_and_never_from_the_next_print_that_fits(folder: Path) -> None:
    with lisbon(folder, [printer_customer(1)]) as harness:
        begun(harness)
        refunded(harness, printed(harness, 1, pages=4))
        assert harness.events(SITE) == {}, "the print and what takes it back came in one report"
        printed(harness, 1, pages=4)
        charged(harness)
        assert totals(harness) == [0.20]
        in_order(harness)
        report = max(Path(harness.ready["sites"][SITE]["reports_folder"]).glob("*"))
        report.with_name("again.csv").write_text(report.read_text("utf-8"), "utf-8")
        in_order(harness)


def test_where_two_prints_fit_nothing_is_taken_and_a_person_says_which(folder: Path) -> None:
    with lisbon(folder, [printer_customer(1)]) as harness:
        begun(harness)
        first, *_ = (printed(harness, 1, pages=number) for number in (4, 6, 1))
        charged(harness)
        refunded(harness, first)
        assert totals(harness) == [0.05, 0.20, 0.30]
        assert told(harness) == ["pages taken back"]
        (row,) = returns.waiting([harness.sites[SITE]])
        prints = row["prints"].split(", ")
        assert len(prints) == 2
        assert row["row_id"] in printbridge("held", "list").out
        with pytest.raises(UnsafeError, match="cannot take 4 pages"):
            returns.decide(harness.sites, row["row_id"], small(harness), reason="no", operator="test")
        said = printbridge("held", "return", row["row_id"], prints[0], "--reason", "as they said")
        assert "4 pages" in said.out
        ran(harness)
        assert sum(totals(harness)) == pytest.approx(0.35), "of 4 and 6 pages 4 are taken back, from either"
        assert told(harness) == []
        with pytest.raises(UnsafeError, match="is decided"):
            returns.decide(harness.sites, row["row_id"], prints[1], reason="again", operator="test")
        in_order(harness)


def test_a_row_that_fits_no_print_is_told_until_a_person_says_that_it_is_nothing(folder: Path) -> None:
    with lisbon(folder, [printer_customer(1)]) as harness:
        begun(harness)
        printed(harness, 1, pages=4)
        charged(harness)
        reports = Path(harness.ready["sites"][SITE]["reports_folder"])
        (report,) = reports.glob("*")
        header, line = report.read_text("utf-8").splitlines()
        report.with_name("b.csv").write_text(f"{header}\n{line.replace(',4,', ',-9,')}\n", "utf-8")
        ran(harness)
        assert totals(harness) == [0.20]
        assert told(harness) == ["pages taken back"]
        (row,) = returns.waiting([harness.sites[SITE]])
        printbridge("held", "return", row["row_id"], "--nothing", "--reason", "it was of last year")
        assert told(harness) == []
        in_order(harness)


# --- prints that a later report lacks ---------------------------------------------------------------------------------


def three(harness: Harness, pages: int = 4) -> str:
    """Three prints at different minutes, charged; the one in the middle."""
    begun(harness, 1, 2)
    printed(harness, 2, pages=1)
    harness.advance(minutes=1)
    job = printed(harness, 1, pages=pages)
    harness.advance(minutes=1)
    printed(harness, 2, pages=1)
    harness.advance(minutes=1)
    harness.report(SITE, name="a.csv")
    ran(harness)
    assert totals(harness) == [0.05, 0.05, pages * 0.05]
    return job


@pytest.mark.parametrize(("decision", "left"), [("priced", [0.05, 0.05]), ("void", [0.05, 0.05, 0.20])])
def test_a_print_that_a_later_report_lacks_is_given_back_by_a_person_or_stays(
    folder: Path, decision: str, left: list[float]
) -> None:
    with lisbon(folder, [printer_customer(1), printer_customer(2)]) as harness:
        refunded(harness, three(harness), "missing")
        assert totals(harness) == [0.05, 0.05, 0.20], "no report gives money back by itself"
        assert told(harness) == ["held: row_missing"]
        in_order(harness)
        (line,) = waiting(harness.sites)
        decide(harness.sites, [line["ref"]], decision, reason="as staff say", operator="test")
        ran(harness)
        assert totals(harness) == left
        assert told(harness) == []
        in_order(harness)


def test_a_print_with_fewer_pages_in_a_later_report_is_never_charged_twice(folder: Path) -> None:
    with lisbon(folder, [printer_customer(1), printer_customer(2)]) as harness:
        refunded(harness, three(harness), "missing", pages=1)
        assert totals(harness) == [0.05, 0.05, 0.20]
        assert told(harness) == ["held: row_missing", "held: twin"]
        decide(
            harness.sites, [line["ref"] for line in waiting(harness.sites)], "priced", reason="seen", operator="test"
        )
        for _ in range(2):
            ran(harness)
        assert totals(harness) == [0.05, 0.05, 0.15]
        in_order(harness)


def test_fewer_pages_are_seen_also_when_the_first_report_is_read_no_more(folder: Path) -> None:
    with lisbon(folder, [printer_customer(1), printer_customer(2)]) as harness:
        job = three(harness)
        reports = Path(harness.ready["sites"][SITE]["reports_folder"])
        for report in reports.glob("*"):
            report.unlink()
        harness.control.post("refund", json={"site": SITE, "job_id": job, "pages": 1}).raise_for_status()
        harness.advance(minutes=1)
        harness.report(SITE, name="b.csv")
        ran(harness)
        ran(harness, **REREAD)
        assert totals(harness) == [0.05, 0.05, 0.20]
        assert told(harness) == ["held: twin"]


def test_a_report_that_was_cut_short_gives_nothing_back(folder: Path) -> None:
    with lisbon(folder, [printer_customer(1), printer_customer(2)]) as harness:
        three(harness)
        (report,) = Path(harness.ready["sites"][SITE]["reports_folder"]).glob("*")
        lines = report.read_text("utf-8").splitlines(keepends=True)
        report.with_name("b.csv").write_text("".join(lines[:3]), "utf-8")
        ran(harness, **REREAD)
        assert totals(harness) == [0.05, 0.05, 0.20]
        assert told(harness) == []
        in_order(harness)
