"""The report through Dagster and from the command: whole folders, the same bytes at any time, all sites together."""

from __future__ import annotations

import csv
import io
from collections.abc import Generator
from pathlib import Path

import pytest

from pipeline.dagster.outcomes import Outcome, run_job
from pipeline.operations.held import decide
from pipeline.store import jobs
from pipeline.store.lines import lines_in
from tests.harness import Harness, running
from tests.worlds import LEEDS, TODAY, credit, customer, world

MONTH = TODAY[:7]
CSV_FILES = {
    "summary", "customers", "teams", "printers", "jobs", "held_and_refunds", "reconciliation", "year_to_date",
}  # fmt: skip


def made(harness: Harness, site: str | None = None) -> dict[str, bytes]:
    """Make a report, of all sites together if none is named, and read its files."""
    outcome: Outcome = (
        run_job(harness.defs, "monthly_report", {"site": site, "month": MONTH})
        if site
        else run_job(harness.defs, "monthly_report_all", MONTH)
    )
    assert outcome.ok, outcome.failures
    folder = harness.state_folder.exports / MONTH / (site or "all-sites")
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    (told,) = (metadata["files"] for metadata in outcome.metadata.values())
    assert told == "\n".join(f"- `{folder / name}`" for name in sorted(files)), "the command prints these paths"
    return files


def rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))


@pytest.fixture
def harness(folder: Path) -> Generator[Harness, None, None]:
    """Two sites with a paid job each, one job paid with credits, and one that went to a refund."""
    people = [
        customer(101, PaperCutPayAsYouPrint=True, FullName="Zoë <b>O'Neil</b>"), customer(102, FullName="=1+1"),
        customer(103, PaperCutPayAsYouPrint=True, InvoicingBusinessId=LEEDS),
    ]  # fmt: skip
    with running(folder, world(people, [credit(401, 102, 100)], sites=("london", "leeds"))) as begun:
        for site in ("london", "leeds"):
            assert begun.run(site).ok
        begun.print_job("c101@example.com", 30, color_pages=2)
        begun.print_job("c102@example.com", 40)
        begun.print_job("c103@example.com", 70, site="leeds")
        begun.advance(minutes=31)
        for site in ("london", "leeds"):
            assert begun.run(site).ok
            assert begun.reconcile(site=site).ok
        yield begun


def test_a_report_is_whole_and_the_same_at_any_time(harness: Harness) -> None:
    first = made(harness, "london")
    assert set(first) == {f"{name}.csv" for name in CSV_FILES} | {
        f"print-charges-london-{MONTH}.{form}" for form in ("xlsx", "html")
    }
    (job, other) = rows(first["jobs.csv"])
    assert (job["currency"], job["money"], other["credits"]) == ("EUR", "0.30", "0.40"), (
        "the currency is that of the charge product"
    )
    assert "€0.30" in first[f"print-charges-london-{MONTH}.html"].decode()
    harness.advance(days=40)
    assert made(harness, "london") == first, "another time made other bytes of the same ledger"
    left = [path.name for path in (harness.state_folder.exports / MONTH).iterdir()]
    assert left == ["london"], f"a report left something behind: {left}"


def test_a_month_that_is_read_in_parts_is_the_same_bytes(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = [harness.print_job("c101@example.com", cost)["job_id"] for cost in (25, 35)]
    for step in (lambda: None, lambda: harness.refund(printed[0])):
        step()
        harness.advance(minutes=31)
        assert harness.run("london").ok
    whole = made(harness, "london")
    assert [row["money"] for row in rows(whole["jobs.csv"])] == ["0.30", "0.00", "0.00", "0.35"]
    monkeypatch.setattr(jobs, "PART", 1)
    assert made(harness, "london") == whole


def test_all_sites_together_are_the_sum_of_the_sites(harness: Harness) -> None:
    alone = [made(harness, site) for site in ("london", "leeds")]
    together = made(harness)
    assert f"print-charges-all-sites-{MONTH}.html" in together
    for name in CSV_FILES:
        file = f"{name}.csv"
        assert rows(together[file]) == [row for report in alone for row in rows(report[file])], f"{file} differs"
    assert sum(int(row["money_cents"]) for row in rows(together["year_to_date.csv"])) == 100


def test_a_charge_stands_in_the_report_until_its_reversal_is_done(harness: Harness) -> None:
    """The refund of an invoiced sale is held: the customer still owes what is on the invoice, as the report says."""
    me = 101
    job = harness.print_job("c101@example.com", 60)["job_id"]
    harness.advance(minutes=31)
    assert harness.run("london").ok
    harness.bill(me)
    harness.refund(job, amount=20)
    harness.advance(minutes=1)
    assert harness.run("london").ok
    with harness.sites.store.connect() as con:
        (held_line,) = lines_in(con, "london", "held").iter_rows(named=True)

    def figures() -> tuple[int, ...]:
        assert harness.reconcile().ok
        files = made(harness, "london")
        (booked,) = [row for row in rows(files["year_to_date.csv"]) if row["coworker_id"] == str(me)]
        summary = {row["figure"]: int(row["amount_cents"] or 0) for row in rows(files["summary.csv"])}
        assert int(booked["money_cents"]) == summary["charged as money"]
        names = ("charged as money", "still to be reversed", "charged once that is done", "reversed")
        return (*(summary[name] for name in names), int(booked["invoiced_cents"]), int(booked["refunds_cents"]))

    def in_nexudus() -> int:
        return sum(sale["Quantity"] for sale in harness.sales() if sale["CoworkerId"] == me)

    assert figures() == (90, 60, 40, 0, 90, 0)
    assert in_nexudus() == 90, "30 and 60, both on an invoice"
    decide(harness.sites, [held_line["ref"]], "confirmed", reason="credited by hand", operator="test")
    harness.advance(minutes=1)
    assert harness.run("london").ok
    assert figures() == (70, 0, 0, 60, 30, 60)
    assert in_nexudus() - 60 == 70, "the credit note takes 60 from what is there"
