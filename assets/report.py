"""Report: what people get to see of a month.

What belongs here: collecting what the monthly report needs and writing its files, all of them or none. What does not:
the sheets and figures (`pipeline.domain.report`, `pipeline.domain.figures`) and how they look (`pipeline.reports`).
"""

import shutil
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from assets.tables import MONTH, SITE_MONTH, dimensions
from assets.transform import reconciliation
from pipeline import ledger, warehouse
from pipeline.domain import report
from pipeline.domain.cells import write_csv
from pipeline.domain.jobs import latest
from pipeline.reports import Title
from pipeline.resources import Bridge

ALL_SITES = "all-sites"
"""The folder of the report of all sites together."""

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


def _charged(bridge: Bridge, site: str, month: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The jobs of a month, the latest revision of each, and their ledger lines."""
    start, end = report.month_bounds(month, bridge.settings.site(site).timezone)
    with bridge.warehouse.connect() as con:
        jobs = latest(
            warehouse.query(
                con,
                "SELECT * FROM papercut_print_jobs WHERE site = $site AND printed_at >= $start AND printed_at < $end",
                site=site, start=start, end=end,
            )
        )  # fmt: skip
        return jobs, ledger.lines(con, site, jobs)


def _sheets(bridge: Bridge, sites: Sequence[str], month: str) -> tuple[Sheets, Sheets]:
    """The sheets of a month and of the month before, of several sites below one another."""
    of_sites = [_of_site(bridge, site, month) for site in sites]
    return report.together([now for now, _ in of_sites]), report.together([before for _, before in of_sites])


def _of_site(bridge: Bridge, site: str, month: str) -> tuple[Sheets, Sheets]:
    """The sheets of a month and of the month before, of one site.

    The year is read month by month, each once, so that it needs little more memory than a month.
    """
    rules = bridge.settings.site(site).rules(site)
    with bridge.warehouse.connect() as con:
        customers = warehouse.read(con, "nexudus_customers")
        days = warehouse.read(con, "reconciliation", site)
        currency = warehouse.bookmark(con, site, "currency")
    before, year = report.month_before(month), report.months_to_date(month)
    first = f"{rules.charge_from - timedelta(days=1):%Y-%m}"
    sheets: dict[str, Sheets] = {}
    booked: list[pl.DataFrame] = []
    for each in sorted({before, month, *(earlier for earlier in year if earlier >= first)}):
        jobs, lines = _charged(bridge, site, each)
        if each in {before, month}:
            sheets[each] = report.monthly(jobs, lines, customers, days, rules, each, currency)
        if each in year:
            booked.append(report.year_to_date(jobs, lines, customers, rules, each, currency))
    return {**sheets[month], "year_to_date": pl.concat(booked)}, sheets[before]


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
