"""Report: what people get to see of a month.

What belongs here: collecting what the monthly report needs and writing its files, all of them or none. What does not:
the sheets themselves (`pipeline.domain.report`).
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from assets.tables import SITE_MONTH, dimensions
from assets.transform import reconciliation
from pipeline import ledger, warehouse
from pipeline.domain import report
from pipeline.domain.jobs import latest
from pipeline.domain.reconcile import day_bounds
from pipeline.resources import Bridge


@dg.asset(group_name="report", kinds={"csv"}, owners=["team:finance"], partitions_def=SITE_MONTH, deps=[reconciliation])
def monthly_print_report(
    context: dg.AssetExecutionContext, bridge: dg.ResourceParam[Bridge]
) -> dg.MaterializeResult[Any]:
    """The print charges of one site and month: one CSV file per sheet under `exports/<month>/<site>/`.

    Made from the ledger, so it can be made again at any time and gives the same bytes for the same ledger.
    """
    site, month = dimensions(context)
    sheets = report.monthly(*_month(bridge, site, month), bridge.settings.site(site).rules(site), month)
    folder = bridge.home.exports / month / site
    _write(folder, {f"{name}.csv": report.to_csv(sheet) for name, sheet in sheets.items()})
    return dg.MaterializeResult(
        metadata={
            "folder": dg.MetadataValue.path(str(folder)),
            "dagster/row_count": sheets["jobs"].height,
            **{name: sheet.height for name, sheet in sheets.items()},
        }
    )


def _month(bridge: Bridge, site: str, month: str) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Jobs, ledger lines, customers and reconciliation of a month."""
    first, last = report.month_days(month)
    timezone = bridge.settings.site(site).timezone
    start, end = day_bounds(first, timezone)[0], day_bounds(last, timezone)[1]
    with bridge.warehouse.connect() as con:
        jobs = latest(
            warehouse.query(
                con,
                "SELECT * FROM papercut_print_jobs WHERE site = $site AND printed_at >= $start AND printed_at < $end",
                site=site, start=start, end=end,
            )
        )  # fmt: skip
        lines = ledger.lines(con, site, jobs)
        customers = warehouse.read(con, "nexudus_customers")
        days = warehouse.read(con, "reconciliation", site)
    return jobs, lines, customers, days


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """Put a folder of files in place of the one before, so that a reader finds the old report or the new one whole."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    for name, content in files.items():
        (made / name).write_bytes(content)
    if folder.exists():
        shutil.rmtree(folder)
    made.rename(folder)
