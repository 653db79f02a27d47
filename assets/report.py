"""Report: what people get to see of a month.

What belongs here: collecting what the monthly report needs and writing its files, all of them or none. What does not:
the sheets and figures (`pipeline.domain.report`, `pipeline.domain.figures`) and how they look (`pipeline.reports`).
"""

import shutil
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from assets.tables import MONTH, SITE_MONTH, dimensions
from assets.transform import reconciliation
from pipeline import ledger, warehouse
from pipeline.domain import report
from pipeline.domain.cells import write_csv
from pipeline.reports import Title
from pipeline.resources import Bridge
from pipeline.warehouse import Connection

ALL_SITES = "all-sites"
"""The folder of the report of all sites together."""

PART_JOBS = 100_000
"""How many jobs are worked on at a time: more cost memory, fewer time, because each part reads the ledger once."""

COMPARED = ("summary", "customers")
"""The sheets of the month before that the page compares with."""

_PRINTED = "FROM papercut_print_jobs WHERE site = $site AND printed_at >= $start AND printed_at < $end"

Sheets = dict[str, pl.DataFrame]


@dg.asset(
    group_name="report", kinds={"csv", "excel", "html"}, owners=["team:finance"], partitions_def=SITE_MONTH,
    deps=[reconciliation],
)  # fmt: skip
def monthly_print_report(
    context: dg.AssetExecutionContext, bridge: dg.ResourceParam[Bridge]
) -> dg.MaterializeResult[Any]:
    """The print charges of one site and month: CSV files, a workbook and a page, under `exports/<month>/<site>/`.

    Made from the ledger, so it can be made again at any time and gives the same bytes for the same ledger.
    """
    site, month = dimensions(context)
    return _report(bridge, [site], month, bridge.home.exports / month / site, site)


@dg.asset(
    group_name="report", kinds={"csv", "excel", "html"}, owners=["team:finance"], partitions_def=MONTH,
    deps=[monthly_print_report],
)  # fmt: skip
def monthly_print_report_all(
    context: dg.AssetExecutionContext, bridge: dg.ResourceParam[Bridge]
) -> dg.MaterializeResult[Any]:
    """The print charges of one month of all sites together, under `exports/<month>/all-sites/`.

    Made from the ledger as well, not from the files of the sites. Amounts of different currencies are not added up.
    """
    month = context.partition_key
    return _report(bridge, list(bridge.settings.sites), month, bridge.home.exports / month / ALL_SITES, "all sites")


def _report(bridge: Bridge, sites: Sequence[str], month: str, folder: Path, scope: str) -> dg.MaterializeResult[Any]:
    """Make the report of some sites, and put it in a folder in place of the one before."""
    # Loaded only here, so that no other run pays for charts and spreadsheets.
    from pipeline.reports.page import page  # noqa: PLC0415 - heavy
    from pipeline.reports.workbook import write_workbook  # noqa: PLC0415 - heavy

    sheets, before = _sheets(bridge, sites, month)
    bridge.warehouse.close()  # its engine keeps more memory than the files need
    zones = tuple(dict.fromkeys(bridge.settings.site(site).timezone for site in sites))
    title = Title(scope, month, zones)
    stem = f"print-charges-{folder.name}-{month}"
    with _replacing(folder) as made:
        for name, sheet in sheets.items():
            with (made / f"{name}.csv").open("wb") as file:
                write_csv(sheet, file)
        write_workbook(made / f"{stem}.xlsx", sheets, title)
        (made / f"{stem}.html").write_bytes(page(sheets, before, title))
    files = sorted(folder.iterdir())
    return dg.MaterializeResult(
        metadata={
            "folder": dg.MetadataValue.path(str(folder)),
            "files": dg.MetadataValue.md("\n".join(f"- `{file}`" for file in files)),
            "dagster/row_count": sheets["jobs"].height,
            **{name: sheet.height for name, sheet in sheets.items()},
        }
    )


def _sheets(bridge: Bridge, sites: Sequence[str], month: str) -> tuple[Sheets, Sheets]:
    """The sheets of a month, and what is compared of the month before, of several sites below one another."""
    of_sites = [_of_site(bridge, site, month) for site in sites]
    return report.together([now for now, _ in of_sites]), report.together([before for _, before in of_sites])


def _of_site(bridge: Bridge, site: str, month: str) -> tuple[Sheets, Sheets]:
    """The sheets of a month, and what is compared of the month before, of one site.

    The year is read part by part, each once, and of the months besides this one only sums are kept: so it needs little
    more memory than the jobs of the month.
    """
    rules = bridge.settings.site(site).rules(site)
    with bridge.warehouse.connect() as con:
        customers = warehouse.read(con, "nexudus_customers")
        days = warehouse.read(con, "reconciliation", site)
        currency = warehouse.bookmark(con, site, "currency")
    before, year = report.month_before(month), report.months_to_date(month)
    first = f"{rules.charge_from - timedelta(days=1):%Y-%m}"
    made: dict[str, Sheets] = {}
    booked: list[pl.DataFrame] = []
    for each in sorted({before, month, *(earlier for earlier in year if earlier >= first)}):
        of = report.Month(each, rules, customers, days, currency)
        with bridge.warehouse.connect() as con:
            parts = [report.part(jobs, lines, of) for jobs, lines in month_parts(con, of)]
        if each in {before, month}:
            made[each] = report.sheets(parts, of)
        if each == before:
            made[each] = {name: made[each][name] for name in COMPARED}
        if each in year:
            booked.append(report.year_to_date(parts, of))
    return {**made[month], "year_to_date": pl.concat(booked)}, made[before]


def month_parts(con: Connection, of: report.Month) -> Generator[tuple[pl.DataFrame, pl.DataFrame], None, None]:
    """The jobs of a month, the latest revision of each, and their ledger lines: `PART_JOBS` at a time, by time.

    What is latest is decided over the whole month, so that no job stands in two parts.
    """
    site, (start, end) = of.rules.name, report.month_bounds(of.name, of.rules.timezone)
    times = warehouse.query(con, f"SELECT printed_at {_PRINTED} ORDER BY ALL", site=site, start=start, end=end)
    revised = warehouse.query(
        con, f"SELECT job_id, max(revision) AS newest {_PRINTED} AND revision > 0 GROUP BY ALL",
        site=site, start=start, end=end,
    )  # fmt: skip
    later = times["printed_at"].gather_every(PART_JOBS, PART_JOBS).unique(maintain_order=True).to_list()
    for since, until in pairwise([start, *later, end]):
        jobs = warehouse.query(con, f"SELECT * {_PRINTED}", site=site, start=since, end=until)
        jobs = jobs.join(revised, on="job_id", how="left").filter(pl.col("revision") == pl.col("newest").fill_null(0))
        yield jobs.drop("newest"), ledger.lines_shown(con, site, jobs)


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
