"""Report: what people get to see of a month.

What belongs here: collecting what the monthly report needs and writing its files, all of them or none. What does not:
the sheets and figures (`pipeline.domain.report`, `pipeline.domain.figures`) and how they look (`pipeline.reports`).
"""

import shutil
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from assets.tables import MONTH, SITE_MONTH, dimensions
from assets.transform import reconciliation
from pipeline import ledger, warehouse
from pipeline.domain import report
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

    sheets = _sheets(bridge, sites, month)
    sheets["year_to_date"] = _year_to_date(bridge, sites, month)
    zones = tuple(dict.fromkeys(bridge.settings.site(site).timezone for site in sites))
    title = Title(scope, month, zones)
    stem = f"print-charges-{folder.name}-{month}"
    with _replacing(folder) as made:
        for name, sheet in sheets.items():
            (made / f"{name}.csv").write_bytes(report.to_csv(sheet))
        write_workbook(made / f"{stem}.xlsx", sheets, title)
        before = _sheets(bridge, sites, report.month_before(month))
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


@dataclass(frozen=True)
class _Month:
    """What the warehouse holds of one month of a site."""

    jobs: pl.DataFrame
    lines: pl.DataFrame
    customers: pl.DataFrame
    days: pl.DataFrame
    currency: str | None

    @classmethod
    def read(cls, bridge: Bridge, site: str, month: str) -> "_Month":
        """Jobs, ledger lines, customers and reconciliation."""
        start, end = report.month_bounds(month, bridge.settings.site(site).timezone)
        with bridge.warehouse.connect() as con:
            jobs = _jobs(con, site, start, end)
            return cls(
                jobs,
                ledger.lines(con, site, jobs),
                warehouse.read(con, "nexudus_customers"),
                warehouse.read(con, "reconciliation", site),
                warehouse.bookmark(con, site, "currency"),
            )


def _jobs(con: warehouse.Connection, site: str, start: datetime, end: datetime) -> pl.DataFrame:
    return latest(
        warehouse.query(
            con,
            "SELECT * FROM papercut_print_jobs WHERE site = $site AND printed_at >= $start AND printed_at < $end",
            site=site, start=start, end=end,
        )
    )  # fmt: skip


def _sheets(bridge: Bridge, sites: Sequence[str], month: str) -> Sheets:
    """The sheets of a month, of several sites below one another."""

    def of(site: str) -> Sheets:
        has = _Month.read(bridge, site, month)
        rules = bridge.settings.site(site).rules(site)
        return report.monthly(has.jobs, has.lines, has.customers, has.days, rules, month, has.currency)

    return report.together([of(site) for site in sites])


def _year_to_date(bridge: Bridge, sites: Sequence[str], month: str) -> pl.DataFrame:
    """The rows for accountants, month by month, so that a year needs no more memory than a month."""

    def of(site: str, each: str) -> pl.DataFrame:
        has = _Month.read(bridge, site, each)
        rules = bridge.settings.site(site).rules(site)
        return report.year_to_date(has.jobs, has.lines, has.customers, rules, each, has.currency)

    return pl.concat([of(site, each) for site in sites for each in report.months_to_date(month)])


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
