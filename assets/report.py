"""Report: what people get to see of a month.

What belongs here: these assets and their words. What does not: making the files (`pipeline.steps.report`).
"""

from typing import Any

import dagster as dg

from assets.tables import MONTH, SITE_MONTH, dimensions
from assets.transform import reconciliation
from pipeline.site import Sites
from pipeline.steps.report import Report, report_all, report_site


@dg.asset(
    group_name="report", kinds={"csv", "excel", "html"}, owners=["team:finance"], partitions_def=SITE_MONTH,
    deps=[reconciliation],
)  # fmt: skip
def monthly_print_report(
    context: dg.AssetExecutionContext, sites: dg.ResourceParam[Sites]
) -> dg.MaterializeResult[Any]:
    """The print charges of one site and month: CSV files, a workbook and a page, under `exports/<month>/<site>/`.

    Made from the ledger, so it can be made again at any time and gives the same bytes for the same ledger.
    """
    site, month = dimensions(context)
    return _shown(report_site(sites[site], month))


@dg.asset(
    group_name="report", kinds={"csv", "excel", "html"}, owners=["team:finance"], partitions_def=MONTH,
    deps=[monthly_print_report],
)  # fmt: skip
def monthly_print_report_all(
    context: dg.AssetExecutionContext, sites: dg.ResourceParam[Sites]
) -> dg.MaterializeResult[Any]:
    """The print charges of one month of all sites together, under `exports/<month>/all-sites/`.

    Made from the ledger as well, not from the files of the sites. Amounts of different currencies are not added up.
    """
    return _shown(report_all(sites, context.partition_key))


def _shown(report: Report) -> dg.MaterializeResult[Any]:
    return dg.MaterializeResult(
        metadata={
            "folder": dg.MetadataValue.path(str(report.folder)),
            "files": dg.MetadataValue.md("\n".join(f"- `{file}`" for file in report.files)),
            "dagster/row_count": report.rows["jobs"],
            **report.rows,
        }
    )
