"""The monthly print-charge report: what was printed and charged, as tidy sheets.

What belongs here: which rows and sums stand on which sheet. What does not: reading the warehouse
(`pipeline.steps.report`), how a sheet becomes a safe file (`cells.py`), the figures of the page (`figures.py`), page
and workbook (`page.py`, `workbook.py`). The same rows give the same sheets, in any order.

Money on a sheet is `x_cents`; in a file it stands again as `x`, in major units with two decimals. A month is the site's
own, and a job stays in the month in which it was printed: a late refund changes that month's report. `printed_at` on a
sheet is the time on the wall of the site, without a zone, because the cell of a spreadsheet has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple

import polars as pl

from pipeline.domain.money.attribution import counts
from pipeline.domain.money.reconcile import day_bounds, whole_cents
from pipeline.domain.money.reversals import carried_out, live, waiting
from pipeline.domain.rules import SiteRules

_MEANS = ("credits", "money", "waived", "held")


class Month(NamedTuple):
    """A month of a site, and what its sheets need besides jobs and ledger lines."""

    name: str
    """For example 2026-11, in the site's time zone."""
    rules: SiteRules
    customers: pl.DataFrame
    reconciliation: pl.DataFrame
    """Reconciliation of the days of the month; other days do no harm."""
    currency: str | None = None
    """ISO code of the money of the site; None where nobody knows it."""


class Part(NamedTuple):
    """What the sheets are made from: the jobs of a month, or of a stretch of it, with all their lines."""

    jobs: pl.DataFrame
    """One row per job, in order of time: its cost, what paid for it, and whose it is."""
    lines: pl.DataFrame
    """The ledger lines that are shown one by one: waiting, voided, every reversal, and what waits for one."""
    booked: pl.DataFrame
    """What accountants book, by customer: coworker_id and the sums in cents."""


def part(jobs: pl.DataFrame, ledger: pl.DataFrame, of: Month) -> Part:
    """The jobs of a month or of a stretch of it, with what paid for each.

    Args:
        jobs: PrintJobs, the latest revision of each job; other months do no harm.
        ledger: every line of these jobs: PrintCharges with the current state.
        of: the month.
    """
    printed_jobs, lines = _of_month(jobs, ledger, of)
    stands = carried_out(lines)
    charged = _charged(printed_jobs, stands, of.rules)
    told = lines.filter(_told() | pl.col("ref").is_in(waiting(lines)["ref"].implode()))
    return Part(_own(_shown(charged, of)), _own(told), _booked(stands))


def sheets(parts: Sequence[Part], of: Month) -> dict[str, pl.DataFrame]:
    """The sheets of one month of a site; each begins with site and currency.

    Args:
        parts: of the month, all of them, in order of time; no job stands in two.
        of: the month.

    Returns:
        summary, customers, teams, printers, jobs, held_and_refunds, reconciliation; in this order.
    """
    days, people = _days(of), of.customers.select("coworker_id", "full_name", "email", "team", "company")
    charged, lines = pl.concat(each.jobs for each in parts), pl.concat(each.lines for each in parts)
    by_customer = _customers(charged, people)
    made = {
        "summary": _summary(charged, lines, days, of.name),
        "customers": by_customer,
        "teams": _teams(by_customer),
        "printers": _printers(charged),
        "jobs": charged.drop("chargeable", "charged", "not_charged_cents"),
        "held_and_refunds": _held_and_refunds(lines, people, of.rules),
        "reconciliation": _reconciliation(days),
    }
    return {name: _placed(sheet, of) for name, sheet in made.items()}


def year_to_date(parts: Sequence[Part], of: Month) -> pl.DataFrame:
    """What accountants book for one month, one row per customer; the months of a year stand below one another.

    Args:
        parts: of the month, all of them.
        of: the month.

    Returns:
        site, currency, month, coworker_id, full_name, credits_cents and money_cents (what stands after refunds),
        refunds_cents (what was given back), invoiced_cents (of the money), invoice_state; by name and customer.
    """
    money, invoiced = pl.col("money_cents"), pl.col("invoiced_cents")
    booked = (
        pl.concat(each.booked for each in parts)
        .group_by("coworker_id")
        .agg(pl.col("^.*_cents$").sum())
        .filter(pl.any_horizontal(pl.col("^.*_cents$") > 0))
        .join(of.customers.select("coworker_id", "full_name"), on="coworker_id", how="left")
        .sort("full_name", "coworker_id", nulls_last=True)
        .select(
            pl.lit(of.name).alias("month"),
            "coworker_id",
            "full_name",
            "credits_cents",
            "money_cents",
            "refunds_cents",
            "invoiced_cents",
            invoice_state=pl.when(money == 0).then(pl.lit("nothing to invoice"))
            .when(invoiced == money).then(pl.lit("invoiced"))
            .when(invoiced > 0).then(pl.lit("partly invoiced"))
            .otherwise(pl.lit("not invoiced yet")),
        )
    )  # fmt: skip
    return _placed(booked, of)


def together(reports: Sequence[dict[str, pl.DataFrame]]) -> dict[str, pl.DataFrame]:
    """The sheets of several sites below one another, sheet by sheet."""
    return {name: pl.concat(report[name] for report in reports) for name in reports[0]}


# --- the sheets -------------------------------------------------------------------------------------------------------


def month_days(month: str) -> tuple[date, date]:
    """The first and the last day of a month."""
    first = date.fromisoformat(f"{month}-01")
    return first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)


def month_bounds(month: str, timezone: str) -> tuple[datetime, datetime]:
    """The first moment of a site's month and of the next one, UTC."""
    first, last = month_days(month)
    return day_bounds(first, timezone)[0], day_bounds(last, timezone)[1]


def month_before(month: str) -> str:
    """The month before: 2026-01 -> 2025-12."""
    return f"{month_days(month)[0] - timedelta(days=1):%Y-%m}"


def months_to_date(month: str) -> list[str]:
    """The months of its calendar year up to a month: 2026-03 -> 2026-01, 2026-02, 2026-03."""
    year, number = month.split("-")
    return [f"{year}-{each:02d}" for each in range(1, int(number) + 1)]


def _of_month(jobs: pl.DataFrame, ledger: pl.DataFrame, of: Month) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The jobs printed in a month, and their ledger lines."""
    start, end = month_bounds(of.name, of.rules.timezone)
    of_site = pl.col("site") == of.rules.name
    printed = _only(jobs, of_site & (pl.col("printed_at") >= start) & (pl.col("printed_at") < end))
    return printed, _only(ledger, of_site & pl.col("job_id").is_in(printed["job_id"].implode()))


def _only(frame: pl.DataFrame, wanted: pl.Expr) -> pl.DataFrame:
    """The rows that are wanted; the frame itself, not a copy of a whole month, where all of them are."""
    return frame if frame.select(wanted.all()).item() else frame.filter(wanted)


def _days(of: Month) -> pl.DataFrame:
    return of.reconciliation.filter(pl.col("day").is_between(*month_days(of.name)), site=of.rules.name)


def _told() -> pl.Expr:
    """Whether a line waits for a person or an answer, was voided by a person, or is a reversal."""
    return pl.col("state").is_in(["held", "unknown", "sending", "void"]) | pl.col("undoes").is_not_null()


def _own(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with texts of its own: as they come, a few of them keep all that they were read with in memory."""
    return frame.with_columns(pl.concat_str(name, pl.lit("")) for name in frame.select(pl.selectors.string()).columns)


def _charged(jobs: pl.DataFrame, lines: pl.DataFrame, rules: SiteRules) -> pl.DataFrame:
    """One row per job: its cost, what paid for it, and the customer; every other sheet sums this one up."""
    held = pl.col("state") == "held"
    means = (
        pl.when(held).then(pl.lit("held"))
        .otherwise(pl.col("kind").replace_strict({"sale": "money", "credit": "credits", "waive": "waived"}))
    )  # fmt: skip
    cents = [f"{name}_cents" for name in _MEANS]
    paid = live(lines).select(
        "job_id",
        "coworker_id",
        "rule",
        *(pl.when(means == name).then("amount_cents").otherwise(0).alias(f"{name}_cents") for name in _MEANS),
        ref=pl.when(pl.col("job_id").is_duplicated()).then("ref"),
    )
    several = paid.filter(pl.col("ref").is_not_null()).sort("ref")
    summed = several.group_by("job_id").agg(
        pl.col("coworker_id").last(),
        pl.col("rule").unique(maintain_order=True).str.join(", "),
        pl.col(cents).sum(),
    )
    paid = pl.concat([paid.filter(pl.col("ref").is_null()).drop("ref"), summed])
    return (
        jobs.sort("printed_at", pl.col("job_id").str.zfill(11))
        .with_columns(papercut_cents=whole_cents(rules), chargeable=counts())
        .join(paid, on="job_id", how="left", maintain_order="left")
        .with_columns(pl.col(cents).fill_null(0), charged=pl.col("rule").is_not_null())
        .with_columns(not_charged_cents=pl.when(~pl.col("charged")).then("papercut_cents").otherwise(0))
    )


def _shown(charged: pl.DataFrame, of: Month) -> pl.DataFrame:
    """The columns of the sheet of jobs, and those that only the other sheets need."""
    notes = _days(of).filter(pl.col("finding") != "ok").select("job_id", note="finding").unique("job_id", keep="any")
    people = of.customers.select("coworker_id", "full_name", "team")
    return (
        charged.join(people, on="coworker_id", how="left", maintain_order="left")
        .join(notes, on="job_id", how="left", maintain_order="left")
        .select(
            "job_id",
            _local("printed_at", of.rules).alias("printed_at"),
            "printer",
            "username",
            "coworker_id",
            "full_name",
            "team",
            "job_type",
            "pages",
            "color_pages",
            "copies",
            "duplex",
            "allowed",
            "printed",
            "refunded",
            "papercut_cents",
            *(f"{name}_cents" for name in _MEANS),
            "rule",
            "note",
            "chargeable",
            "charged",
            "not_charged_cents",
        )
    )


def _booked(lines: pl.DataFrame) -> pl.DataFrame:
    """What stands and what was given back, by customer."""
    standing = live(lines).filter(pl.col("state") != "held").select("ref", stands=True)
    amount, stands = pl.col("amount_cents"), pl.col("stands").fill_null(value=False)
    given_back = pl.col("kind").is_in(["undo_sale", "undo_credit"]) & (pl.col("state") != "void")
    sums = {
        "credits_cents": amount.filter(stands, kind="credit"),
        "money_cents": amount.filter(stands, kind="sale"),
        "refunds_cents": amount.filter(given_back),
        "invoiced_cents": amount.filter(stands, kind="sale", state="invoiced"),
    }
    told = lines.join(standing, on="ref", how="left")
    return told.group_by("coworker_id").agg(**{name: cents.sum() for name, cents in sums.items()})


def _sums() -> list[pl.Expr]:
    """What customers and printers are summed up in."""
    return [
        pl.len().cast(pl.Int64).alias("jobs"),
        pl.col("pages", "color_pages").sum(),
        *(pl.col(f"{name}_cents").sum() for name in _MEANS),
    ]


def _customers(charged: pl.DataFrame, people: pl.DataFrame) -> pl.DataFrame:
    sums = charged.lazy().filter("charged").group_by("coworker_id").agg(_sums())
    return (
        sums.join(people.lazy(), on="coworker_id", how="left")
        .select(*people.columns, pl.exclude(people.columns))
        .sort("full_name", "coworker_id", nulls_last=True)
        .collect()
    )


def _teams(by_customer: pl.DataFrame) -> pl.DataFrame:
    """The sums of the customers by team, or by company where there is no team."""
    sums = ("jobs", "pages", "color_pages", *(f"{name}_cents" for name in _MEANS))
    by_team = by_customer.group_by(team_or_company=pl.coalesce("team", "company"))
    teams = by_team.agg(pl.len().cast(pl.Int64).alias("customers"), pl.col(sums).sum())
    return teams.sort("team_or_company", nulls_last=True)


def _printers(charged: pl.DataFrame) -> pl.DataFrame:
    return (
        charged.lazy()
        .filter("chargeable")
        .group_by("printer")
        .agg(*_sums(), pl.col("not_charged_cents", "papercut_cents").sum())
        .sort("printer")
        .collect()
    )


def _held_and_refunds(lines: pl.DataFrame, people: pl.DataFrame, rules: SiteRules) -> pl.DataFrame:
    """Lines that wait for a person, an answer or a reversal, lines that a person voided, and every reversal."""
    return (
        lines.join(people, on="coworker_id", how="left")
        .sort("printed_at", "ref")
        .select(
            "ref",
            "job_id",
            _local("printed_at", rules).alias("printed_at"),
            "coworker_id",
            "full_name",
            "kind",
            "state",
            "amount_cents",
            "undoes",
            "rule",
            "reason",
        )
    )


def _reconciliation(days: pl.DataFrame) -> pl.DataFrame:
    """One row per day; the findings are those that nobody can explain.

    What was printed is called by its source, as people know it: beside it a sheet of jobs has a column `printed`.
    """
    wrong = pl.col("unexplained_cents") != 0
    return (
        days.rename({"printed_cents": "papercut_cents"})
        .sort("day", pl.col("job_id").str.zfill(11))
        .group_by("day", maintain_order=True)
        .agg(
            pl.len().cast(pl.Int64).alias("rows"),
            pl.col("^.*_cents$").sum(),
            wrong.sum().cast(pl.Int64).alias("wrong"),
            pl.col("finding").filter(wrong).str.join(" ").alias("findings"),
        )
    )


def _summary(charged: pl.DataFrame, lines: pl.DataFrame, days: pl.DataFrame, month: str) -> pl.DataFrame:
    """One row per figure: how many jobs (or rows) and how much money."""
    paid = {
        f"{name}_cents": label
        for name, label in zip(
            _MEANS, ("paid with credits", "charged as money", "waived", "held for a person"), strict=True
        )
    }
    chargeable, duplex = pl.col("chargeable"), pl.col("duplex") & pl.col("chargeable")
    pages, missed = pl.col("pages"), pl.col("not_charged_cents")
    customers = pl.col("coworker_id").filter("charged").drop_nulls().n_unique()
    back = lines.filter(pl.col("undoes").is_not_null(), pl.col("state") != "void")
    done = pl.col("state") == "confirmed"
    wait = lines.join(waiting(lines), on="ref", how="semi")
    figures: list[tuple[str, int, int | None]] = [
        ("jobs logged", charged.height, None),
        ("pages of chargeable jobs", _value(charged, pages.filter(chargeable).sum()), None),
        ("colour pages of chargeable jobs", _value(charged, pl.col("color_pages").filter(chargeable).sum()), None),
        ("duplex pages of chargeable jobs", _value(charged, pages.filter(duplex).sum()), None),
        ("customers charged", _value(charged, customers), None),
        ("chargeable prints", _value(charged, chargeable.sum()), _total(charged, "papercut_cents")),
        *((label, _value(charged, (pl.col(name) > 0).sum()), _total(charged, name)) for name, label in paid.items()),
        ("not charged", _value(charged, (missed > 0).sum()), _total(charged, "not_charged_cents")),
        ("reversed", back.filter(done).height, _total(back.filter(done), "amount_cents")),
        ("still to be reversed", back.filter(~done).height, _total(back.filter(~done), "amount_cents")),
        ("charged once that is done", wait.height, _total(wait, "amount_cents")),
        ("sales in Nexudus", days.filter(pl.col("nexudus_cents") > 0).height, _total(days, "nexudus_cents")),
        ("unexplained", days.filter(pl.col("unexplained_cents") != 0).height, _total(days, "unexplained_cents")),
    ]
    frame = pl.DataFrame(
        figures, schema={"figure": pl.String, "number": pl.Int64, "amount_cents": pl.Int64}, orient="row"
    )
    return frame.select(pl.lit(month).alias("month"), pl.all())


def _total(frame: pl.DataFrame, column: str) -> int:
    return _value(frame, pl.col(column).sum())


def _value(frame: pl.DataFrame, figure: pl.Expr) -> int:
    return frame.select(figure).item()


def _local(column: str, rules: SiteRules) -> pl.Expr:
    return pl.col(column).dt.convert_time_zone(rules.timezone).dt.replace_time_zone(None)


def _placed(sheet: pl.DataFrame, of: Month) -> pl.DataFrame:
    """The sheet with site and currency before its columns."""
    return sheet.select(pl.lit(of.rules.name).alias("site"), pl.lit(of.currency, pl.String).alias("currency"), pl.all())
