"""Report: the files of a month for people, made from the ledger, all of them or none.

What belongs here: collecting what the report needs, part by part, and writing its folder. What does not: the sheets
and figures and how they look (`pipeline.reports`).
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import polars as pl

from pipeline.reports import sheets
from pipeline.reports.cells import write_csv
from pipeline.reports.title import Title
from pipeline.site import Site, Sites
from pipeline.store import jobs, memory
from pipeline.store.sql import read

ALL_SITES = "all-sites"
"""The folder of the report of all sites together."""

COMPARED = ("summary", "customers")
"""The sheets of the month before that the page compares with."""

Sheets = dict[str, pl.DataFrame]


@dataclass(frozen=True)
class Report:
    """A report that was written: its folder, its files, and how many rows each sheet has."""

    folder: Path
    files: list[Path]
    rows: dict[str, int]


def report_site(site: Site, month: str) -> Report:
    """Write the report of one site and month, under `exports/<month>/<site>/`, in place of the one before."""
    return _report(site.sites, [site], month, site.name, site.name)


def report_all(sites: Sites, month: str) -> Report:
    """Write the report of one month of all sites together, under `exports/<month>/all-sites/`.

    Made from the ledger as well, not from the files of the sites. Amounts of different currencies are not added up.
    """
    return _report(sites, list(sites), month, ALL_SITES, "all sites")


def _report(sites: Sites, chosen: Sequence[Site], month: str, name: str, scope: str) -> Report:
    # Loaded only here, so that no other run pays for charts and spreadsheets.
    from pipeline.reports.page import page  # noqa: PLC0415 - heavy
    from pipeline.reports.workbook import write_workbook  # noqa: PLC0415 - heavy

    folder = sites.home.exports / month / name
    of_sites = [_of_site(site, month) for site in chosen]
    made = sheets.together([now for now, _ in of_sites])
    before = sheets.together([before for _, before in of_sites])
    sites.store.close()  # its engine keeps more memory than the files need
    title = Title(scope, month, tuple(dict.fromkeys(site.rules.timezone for site in chosen)))
    stem = f"print-charges-{name}-{month}"
    with _replacing(folder) as part:
        for each, sheet in made.items():
            with (part / f"{each}.csv").open("wb") as file:
                write_csv(sheet, file)
        write_workbook(part / f"{stem}.xlsx", made, title)
        (part / f"{stem}.html").write_bytes(page(made, before, title))
    return Report(folder, sorted(folder.iterdir()), {each: sheet.height for each, sheet in made.items()})


def _of_site(site: Site, month: str) -> tuple[Sheets, Sheets]:
    """The sheets of a month, and what is compared of the month before, of one site.

    The year is read part by part, each once, and of the months besides this one only sums are kept: so it needs little
    more memory than the jobs of the month.
    """
    with site.store.connect() as con:
        customers = read(con, "nexudus_customers")
        days = read(con, "reconciliation", site.key)
        currency = memory.recall(con, site.key, memory.CURRENCY)
    before, year = sheets.month_before(month), sheets.months_to_date(month)
    first = f"{site.rules.charge_from - timedelta(days=1):%Y-%m}"
    made: dict[str, Sheets] = {}
    booked: list[pl.DataFrame] = []
    for each in sorted({before, month, *(earlier for earlier in year if earlier >= first)}):
        of = sheets.Month(each, site.rules, customers, days, currency)
        start, end = sheets.month_bounds(each, site.rules.timezone)
        with site.store.connect() as con:
            parts = [sheets.part(printed, lines, of) for printed, lines in jobs.parts(con, site.key, start, end)]
        if each in {before, month}:
            made[each] = sheets.sheets(parts, of)
        if each == before:
            made[each] = {name: made[each][name] for name in COMPARED}
        if each in year:
            booked.append(sheets.year_to_date(parts, of))
    return {**made[month], "year_to_date": pl.concat(booked)}, made[before]


@contextmanager
def _replacing(folder: Path) -> Generator[Path, None, None]:
    """A new folder to write to, put in place of the one before: a reader finds the old report or the new one whole."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    former = made.with_name(f"{made.name}-former")
    try:
        yield made
        if folder.exists():
            folder.rename(former)
        made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
        shutil.rmtree(former, ignore_errors=True)
