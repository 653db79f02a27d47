"""How a stored table shows itself in the Dagster UI.

What belongs here: column schemas, row counts and previews as metadata, shared by every asset. What does not: making or
storing tables. A preview never holds a personal column.
"""

from typing import Any

import dagster as dg
import polars as pl

from pipeline.domain import tables
from pipeline.site import Site, Sites
from pipeline.steps.run import Made

SITE = dg.StaticPartitionsDefinition(["site"])
SITE_DAY = dg.MultiPartitionsDefinition({"site": SITE, "day": dg.DailyPartitionsDefinition("2026-01-01")})
MONTH = dg.MonthlyPartitionsDefinition("2026-01", fmt="%Y-%m")
SITE_MONTH = dg.MultiPartitionsDefinition({"site": SITE, "month": MONTH})
"""Stand-ins: `pipeline.definitions` puts the sites of bridge.toml in their place."""


def site_of(context: dg.AssetExecutionContext, sites: Sites) -> Site:
    """The site of a partition of one dimension."""
    return sites[context.partition_key]


def dimensions(context: dg.AssetExecutionContext) -> tuple[str, str]:
    """The site of a two-dimensional partition, and its day or month."""
    tags = context.run.tags
    return tags["dagster/partition/site"], tags.get("dagster/partition/day") or tags["dagster/partition/month"]


PERSONAL = frozenset(
    {"email", "email_key", "full_name", "username", "new_username", "team", "company", "reason", "detail"}
)
PREVIEW_ROWS = 20


def column_schema(table: str) -> dg.TableSchema:
    """The contract of a table for the UI: types, descriptions, constraints."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name,
                str(column.dtype),
                description=column.description,
                constraints=dg.TableColumnConstraints(
                    nullable=column.nullable,
                    unique=column.unique,
                    other=[str(check.error or check.name) for check in column.checks or ()],
                ),
            )
            for name, column in tables.TABLES[table].to_schema().columns.items()
        ]
    )


def described(table: str) -> dict[str, Any]:
    """Metadata that an asset has before it was ever made."""
    return {"dagster/column_schema": column_schema(table), "dagster/table_name": table}


def shown(made: Made, *, asset_key: str | None = None, **pictures: Any) -> dg.MaterializeResult[Any]:
    """What a step made, for the UI: row count, a preview without people, its numbers.

    Args:
        made: by the step.
        asset_key: where a step makes several assets.
        pictures: further metadata.
    """
    columns = [name for name in made.frame.columns if name not in PERSONAL and not name.endswith("digest")]
    metadata = {
        "dagster/row_count": made.frame.height,
        "preview": dg.MetadataValue.md(markdown(made.frame.select(columns).head(PREVIEW_ROWS))),
        **made.numbers,
        **pictures,
    }
    return dg.MaterializeResult(asset_key=asset_key, metadata=metadata)


def markdown(frame: pl.DataFrame) -> str:
    """A frame as a Markdown table."""
    if not frame.height:
        return "no rows"
    lines = ["| " + " | ".join(frame.columns) + " |", "|" + "---|" * frame.width]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in frame.iter_rows()]
    return "\n".join(lines)


def _cell(value: object) -> str:
    return "" if value is None else str(value).replace("|", "\\|").replace("\n", " ")
