"""Findings about a set-up: what an answer of Nexudus, of the job source or of this machine means, and its remedy.

What belongs here: pure judgements, in the words of the screens (`rules.md` 2.1, C12 to C17); those about a print system
stand beside it. What does not: asking (`doctor.py`) and showing (`pipeline.cli.console`). What no interface tells is a
warning that names the screen, and an empty answer proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import polars as pl

from pipeline.domain.people.reasons import FAULTS
from pipeline.services.nexudus import records
from pipeline.services.printing import NOT_PROVEN, Finding, Status
from pipeline.words import counted, listed

CHARGING = "Printers > printer > Charging: whole numbers for every print type"
USES = 5  # the charge period "uses" of a Nexudus rate
WARN_SKEW, FAIL_SKEW = timedelta(minutes=5), timedelta(hours=1)


# --- Nexudus ---------------------------------------------------------------------------------------------------------


def skew(seconds: float | None) -> Finding:
    """The clock of Nexudus less that of this machine: validity of credits and maturity of jobs depend on it."""
    if seconds is None:
        return Finding("clock", "warn", "Nexudus sent no time", f"{NOT_PROVEN}the clock of this machine")
    late = timedelta(seconds=abs(seconds))
    status: Status = "fail" if late > FAIL_SKEW else "warn" if late > WARN_SKEW else "pass"
    seen = f"the clock of this machine is {abs(seconds):.0f} s {'behind' if seconds > 0 else 'ahead of'} Nexudus"
    return Finding("clock", status, seen, "" if status == "pass" else "let this machine set its clock by NTP")


def product(record: Mapping[str, Any], business_id: int) -> Finding:
    """C12, from the product as Nexudus has it."""
    where = "Inventory > Products > product"
    shown = f"product {record['Id']} ({record.get('Name')})"
    if records.cents(record.get("Price")) != 1:
        return Finding("C12", "fail", f"{shown} is priced {record.get('Price')}, not 0.01", f"{where}: Price 0.01")
    if record.get("Archived"):
        return Finding("C12", "fail", f"{shown} is archived", f"{where}: unarchive it, or name another")
    if record.get("BusinessId") != business_id:
        seen = f"{shown} belongs to location {record.get('BusinessId')}, not to {business_id}"
        return Finding("C12", "warn", seen, f"{where}: use a product of the location that sells the prints")
    return Finding("C12", "pass", f"{shown} is priced 0.01")


def credit(record: Mapping[str, Any]) -> Finding:
    """C13, from the printing credit (an ExtraService) as Nexudus has it."""
    wrong: list[str] = []
    if not record.get("IsPrintingCredit"):
        wrong.append("is no printing credit")
    if record.get("ChargePeriod") != USES:
        wrong.append(f"is charged by period {record.get('ChargePeriod')}, not for every use ({USES})")
    if records.cents(record.get("Price")) != 100:
        wrong.append(f"is priced {record.get('Price')}, not 1")
    shown = f"credit {record['Id']} ({record.get('Name')})"
    if wrong:
        where = "Inventory > Prices > rate for printing: Price 1 for every use; Inventory > Printing credits"
        return Finding("C13", "fail", f"{shown} {' and '.join(wrong)}", where)
    return Finding("C13", "pass", f"{shown} is a printing credit with price 1 for every use")


def only_credit(rates: Sequence[Mapping[str, Any]], tied: Sequence[int]) -> Iterator[Finding]:
    """C14, from every rate of the account: one printing credit, and no other."""
    printing = [each for each in rates if each["IsPrintingCredit"]]
    others = [f"{each['Id']} ({each.get('Name')})" for each in printing if each["Id"] not in tied]
    where = "Inventory > Printing credits: only one can be tied to printing; give customers no others"
    if others:
        yield Finding("C14", "warn", f"not counted: {listed(others, 'other printing credit')}", where)
    if len(tied) > 1:
        yield Finding("C14", "warn", f"credit_ids names {len(tied)} printing credits", where)
    if not others and len(tied) == 1:
        yield Finding("C14", "pass", f"printing credit {tied[0]} is the only one")


def model(pricing_model: str) -> Iterator[Finding]:
    """C15 and C16: what the pricing model needs in Nexudus as a whole."""
    if pricing_model == "credits_and_pay_per_print":
        yield Finding("C15", "pass", "both a product and a printing credit are named; see C12 to C14")
    if pricing_model == "free_unlimited":
        yield Finding("C16", "pass", "printing is free: no inventory item is needed")


def people(accounts: pl.DataFrame) -> Iterator[Finding]:
    """C17, from PrintAccounts: what in the customers' records keeps them from printing."""
    accounts = accounts.sort("coworker_id")
    for code, reason in FAULTS.items():
        ids = accounts.filter(reason=code)["coworker_id"].cast(pl.String).to_list()
        if ids:
            where = f"Operations > Members and contacts > customer: {reason.remedy}"
            yield Finding("C17", "warn", f"{reason.fault}, so cannot print: {listed(ids, 'customer')}", where)
    if accounts.filter(pl.col("reason").is_in(list(FAULTS))).is_empty():
        able = accounts.filter(pl.col("reason").is_null()).height
        yield Finding("C17", "pass", f"PINs and e-mails are usable; {able} of {accounts.height} e-mails may print")


# --- print jobs and files --------------------------------------------------------------------------------------------


def jobs(rows: pl.DataFrame, problems: Sequence[str], source: str, days: int, now: datetime) -> Iterator[Finding]:
    """The job source, from what it gave for the last days: readable, in the right time zone, with whole costs (C10)."""
    if problems:
        remedy = "correct these rows; every other row is read"
        yield Finding("jobs", "fail", f"{listed(problems, 'row')} cannot be read", remedy)
    if rows.is_empty():
        seen = f"the {source} is readable and holds no job of the last {days} days"
        yield Finding("jobs", "warn", seen, "print a page, wait a minute, and run `printbridge doctor` again")
        return
    newest = cast("datetime", rows["printed_at"].max())
    yield Finding("jobs", "pass", f"the {source} holds {counted(rows.height, 'job')} of the last {days} days")
    if newest - now > WARN_SKEW:
        seen = f"the newest job is from {newest:%Y-%m-%d %H:%M} UTC, which is in the future"
        yield Finding("jobs", "fail", seen, "set the site's timezone to that of the PaperCut server")
    broken = rows.filter(pl.col("cost") != pl.col("cost").floor())
    if broken.height:
        printers = listed(sorted(broken["printer"].unique()), "printer")
        seen = f"the cost is no whole number for {counted(broken.height, 'job')} at {printers}"
        yield Finding("C10", "fail", seen, CHARGING)


def private(path: Path, mode: int) -> Iterator[Finding]:
    """A file or folder with secrets or personal data must be its owner's alone (`money-safety.md` 8.13)."""
    if mode & 0o077:
        yield Finding("private", "fail", f"others may use {path} (mode {mode:03o})", f"run `chmod go= {path}`")
