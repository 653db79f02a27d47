"""The figures of the monthly page: what stands out in the sheets of a report, of one site or of several together.

What belongs here: headline figures and their change, sums by day, the most frequent printers and customers, what is
held and why, whether the books agree. What does not: the sheets (`sheets.py`), wording of numbers, charts and HTML
(`pipeline.reports.page`).

Amounts are whole cents and are never summed over two currencies: where sites have several, each has its own figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import polars as pl

from pipeline.domain.money.attribution import counts
from pipeline.domain.money.reasons import TITLES
from pipeline.reports.sheets import month_days

Sheets = Mapping[str, pl.DataFrame]
Row = dict[str, Any]

WAYS = {
    "credits_cents": "paid with credits",
    "money_cents": "charged as money",
    "waived_cents": "waived",
    "held_cents": "held for a person",
    "not_charged_cents": "not charged",
}
"""Where the cost of a chargeable job may stand, and its name on the summary; together, what the prints cost."""

_PEOPLE = ("coworker_id", "full_name")
_SUMS = ("jobs", "pages", "credits_cents", "money_cents", "waived_cents", "held_cents")
_CHARGED = pl.sum_horizontal("credits_cents", "money_cents", "waived_cents", "held_cents")

_REFUSED = "Nexudus refused it, or holds something else"
_INVOICED = "A refund of what is invoiced already"
_UNANSWERED = "Nexudus has not answered; the next run looks it up"


@dataclass(frozen=True)
class Figure:
    """One headline figure and the same of the month before (None: nothing was printed then)."""

    label: str
    kind: Literal["count", "share", "money"]
    value: int | float
    before: int | float | None
    currency: str | None = None


def currencies(sheets: Sheets) -> list[str | None]:
    """The currencies of the sites in a report, in order; None for sites whose currency nobody knows."""
    return sheets["summary"]["currency"].unique().sort(nulls_last=True).to_list()


def headline(sheets: Sheets, before: Sheets) -> list[Figure]:
    """The figures of a month, each beside that of the month before."""
    now, then = _counts(sheets), _counts(before)
    printed_then = then["jobs logged"] > 0
    figures = [
        Figure(label, "count", now[name], then[name] if printed_then else None)
        for label, name in (
            ("Pages", "pages of chargeable jobs"), ("Jobs", "chargeable prints"), ("Customers", "customers"),
        )
    ]  # fmt: skip
    for label, name in (
        ("In colour", "colour pages of chargeable jobs"),
        ("Duplex", "duplex pages of chargeable jobs"),
    ):
        figures.append(Figure(label, "share", _share(now, name), _share(then, name) if printed_then else None))
    for currency in currencies(sheets):
        for label, way in (("Paid with credits", "credits"), ("Charged as money", "money"), ("Held", "held")):
            name = WAYS[f"{way}_cents"]
            amounts = (_amount(report, currency, name) for report in (sheets, before))
            value, earlier = amounts
            figures.append(Figure(label, "money", value, earlier if printed_then else None, currency))
    return figures


def ways(sheets: Sheets, currency: str | None) -> list[Row]:
    """What became of the cost of all chargeable jobs: name, jobs, cents, and the share of the whole (0 to 1)."""
    rows = sheets["summary"].filter(pl.col("currency").eq_missing(currency))
    total = _amount(sheets, currency, "chargeable prints")
    return [
        {"way": key.removesuffix("_cents"), "name": name, "jobs": _number(rows, name), "cents": cents,
         "share": cents / total if total else 0.0}
        for key, name in WAYS.items()
        for cents in [_amount(sheets, currency, name)]
    ]  # fmt: skip


def by_day(sheets: Sheets, month: str) -> pl.DataFrame:
    """Chargeable pages and amounts of every day of the month and currency, also of days without a job.

    Returns:
        day, currency, pages, color_pages, credits_cents, money_cents; by currency and day.
    """
    first, last = month_days(month)
    days = pl.select(day=pl.date_range(first, last)).join(
        pl.DataFrame({"currency": currencies(sheets)}, schema={"currency": pl.String}), how="cross"
    )
    sums = ["pages", "color_pages", "credits_cents", "money_cents"]
    printed = (
        sheets["jobs"].lazy()  # only the columns that it needs are taken out of the many rows
        .filter(counts())
        .group_by("currency", day=pl.col("printed_at").dt.date())
        .agg(pl.col(sums).sum())
        .collect()
    )  # fmt: skip
    return (
        days.join(printed, on=["day", "currency"], how="left", nulls_equal=True)
        .with_columns(pl.col(sums).fill_null(0))
        .sort("currency", "day", nulls_last=True)
    )


def top_customers(sheets: Sheets, number: int) -> list[Row]:
    """The customers with the most pages: coworker_id, full_name, currency, the sums, and charged_cents in all."""
    people = sheets["customers"].filter(pl.col("coworker_id").is_not_null())
    return _top(people, [*_PEOPLE, "currency"], number)


def top_printers(sheets: Sheets, number: int) -> list[Row]:
    """The printers with the most pages: site, printer, currency, the sums, and charged_cents in all."""
    return _top(sheets["printers"], ["site", "printer", "currency"], number)


def held(sheets: Sheets, number: int) -> list[Row]:
    """What waits for a person or for Nexudus: for each reason and currency how much, and its largest lines."""
    state = pl.col("state")
    undoes = pl.col("undoes").is_not_null()
    why = (
        pl.when(state.is_in(["unknown", "sending"])).then(pl.lit(_UNANSWERED))
        .when(undoes).then(pl.lit(_INVOICED))
        .otherwise(pl.col("rule").replace_strict(TITLES, default=_REFUSED))
    )  # fmt: skip
    waiting = sheets["held_and_refunds"].filter(state.is_in(["held", "unknown", "sending"])).with_columns(why=why)
    return [
        {"why": name, "currency": currency, "cents": int(lines["amount_cents"].sum()),
         "count": lines.height,
         "lines": lines.sort("amount_cents", "ref", descending=[True, False]).head(number).to_dicts()}
        for (name, currency), lines in sorted(
            waiting.group_by("why", "currency"),
            key=lambda group: (-int(group[1]["amount_cents"].sum()), str(group[0][0]), str(group[0][1])),
        )
    ]  # fmt: skip


def books(sheets: Sheets) -> list[Row]:
    """The reconciliation: a row for each day of a single site, or for each of several sites."""
    rows = sheets["reconciliation"]
    if sheets["summary"]["site"].n_unique() == 1:
        return rows.to_dicts()
    sums = rows.group_by("site", "currency", maintain_order=True).agg(
        pl.col("rows", "wrong", "^.*_cents$").sum(), pl.col("findings").filter(pl.col("wrong") > 0).str.join(" ")
    )
    return sums.sort("site").to_dicts()


def unreconciled(sheets: Sheets) -> list[tuple[str, date]]:
    """The days with jobs that no reconciliation has looked at: site and day."""
    printed = sheets["jobs"].select("site", day=pl.col("printed_at").dt.date()).unique()
    return printed.join(sheets["reconciliation"], on=["site", "day"], how="anti").sort("site", "day").rows()


def _top(sheet: pl.DataFrame, keys: list[str], number: int) -> list[Row]:
    return (
        sheet.group_by(keys)
        .agg(pl.col(_SUMS).sum())
        .with_columns(charged_cents=_CHARGED)
        .sort("pages", "charged_cents", *keys, descending=[True, True, *[False] * len(keys)], nulls_last=True)
        .head(number)
        .to_dicts()
    )


def _counts(sheets: Sheets) -> dict[str, int]:
    """The numbers of the summary over all sites; a customer of two sites counts once."""
    numbers = dict(sheets["summary"].group_by("figure").agg(pl.col("number").sum()).iter_rows())
    return {**numbers, "customers": sheets["customers"]["coworker_id"].drop_nulls().n_unique()}


def _share(numbers: Mapping[str, int], name: str) -> float:
    pages = numbers["pages of chargeable jobs"]
    return numbers[name] / pages if pages else 0.0


def _amount(sheets: Sheets, currency: str | None, figure: str) -> int:
    rows = sheets["summary"].filter(pl.col("currency").eq_missing(currency), figure=figure)
    return int(rows["amount_cents"].sum())


def _number(rows: pl.DataFrame, figure: str) -> int:
    return int(rows.filter(figure=figure)["number"].sum())
