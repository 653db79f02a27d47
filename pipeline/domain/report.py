"""The monthly print-charge report: what was printed and charged, as tidy sheets, and how a sheet becomes a safe file.

What belongs here: which rows and sums stand on which sheet, the neutralising of cells, CSV. What does not: reading the
warehouse, writing files, charts and pages (`assets/report.py`). The same rows give the same bytes, in any order.

Money stands twice: `x_cents` to calculate with, `x` in major units with two decimals to read. A month is the site's
own, and a job stays in the month in which it was printed: a late refund changes that month's report.
"""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl

from pipeline.domain.charges import counts, live
from pipeline.domain.reconcile import day_bounds, whole_cents
from pipeline.domain.rules import SiteRules

_MEANS = ("credits", "money", "waived", "held")

# What a spreadsheet takes for a formula, also behind blanks and invisible characters, once the full-width and other
# compatibility forms are folded (NFKC).
_FORMULA = r"^[\s\p{C}]*[=+\-\x{2212}@\t\r\n]"


def monthly(  # noqa: PLR0917 - the tables that the report shows
    jobs: pl.DataFrame,
    ledger: pl.DataFrame,
    customers: pl.DataFrame,
    reconciliation: pl.DataFrame,
    rules: SiteRules,
    month: str,
) -> dict[str, pl.DataFrame]:
    """The sheets of one month of a site.

    Args:
        jobs: PaperCutPrintJobs, the latest revision of each job; other months do no harm.
        ledger: every line of these jobs: PrintCharges with the current state.
        customers: NexudusCustomers, for names, teams and companies.
        reconciliation: Reconciliation of the days of the month.
        rules: the choices of the site.
        month: for example 2026-11, in the site's time zone.

    Returns:
        summary, customers, teams, printers, jobs, held_and_refunds, reconciliation; in this order.

    Raises:
        ValueError: the month is not of the form 2026-11.
    """
    first, last = month_days(month)
    start, end = day_bounds(first, rules.timezone)[0], day_bounds(last, rules.timezone)[1]
    printed = (pl.col("printed_at") >= start) & (pl.col("printed_at") < end)
    printed_jobs = jobs.filter(printed, site=rules.name)
    lines = ledger.filter(site=rules.name).join(printed_jobs.select("job_id"), on="job_id", how="semi")
    days = reconciliation.filter(pl.col("day").is_between(first, last), site=rules.name)
    people = customers.select("coworker_id", "full_name", "email", "team", "company")
    charged = _charged(printed_jobs, lines, people, rules)
    sheets = {
        "summary": _summary(charged, lines, days, rules, month),
        "customers": _customers(charged),
        "teams": _teams(charged),
        "printers": _printers(charged),
        "jobs": _jobs(charged, days, rules),
        "held_and_refunds": _held_and_refunds(lines, people, rules),
        "reconciliation": _reconciliation(days),
    }
    return {name: _with_amounts(sheet) for name, sheet in sheets.items()}


def safe_cells(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with an apostrophe before each text that a spreadsheet would run as a formula; other cells unchanged.

    Such a text starts with = + - @ tab or a line break, perhaps behind blanks or invisible characters, or as a
    full-width form. Numbers and dates are no text. Doing it twice changes nothing.
    """
    text = pl.selectors.string()
    return frame.with_columns(
        pl.when(text.str.normalize("NFKC").str.contains(_FORMULA)).then(pl.lit("'") + text).otherwise(text).name.keep()
    )


def to_csv(frame: pl.DataFrame) -> bytes:
    """A sheet as CSV (RFC 4180: commas, CRLF, quotes where needed), its cells safe.

    UTF-8 with a byte order mark: without it Excel reads names in other scripts as rubbish; other readers skip it
    (Python: `utf-8-sig`).
    """
    return safe_cells(frame).write_csv(include_bom=True, line_terminator="\r\n").encode()


# --- the sheets -------------------------------------------------------------------------------------------------------


def month_days(month: str) -> tuple[date, date]:
    """The first and the last day of a month."""
    first = date.fromisoformat(f"{month}-01")
    return first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)


def _charged(jobs: pl.DataFrame, lines: pl.DataFrame, people: pl.DataFrame, rules: SiteRules) -> pl.DataFrame:
    """One row per job: its cost, what paid for it, and the customer; every other sheet sums this one up."""
    held = pl.col("state") == "held"
    means = (
        pl.when(held).then(pl.lit("held"))
        .otherwise(pl.col("kind").replace_strict({"sale": "money", "credit": "credits", "waive": "waived"}))
    )  # fmt: skip
    paid = (
        live(lines)
        .with_columns(means=means)
        .sort("ref")
        .group_by("job_id")
        .agg(
            pl.col("coworker_id").last(),
            *(pl.col("amount_cents").filter(means=name).sum().alias(f"{name}_cents") for name in _MEANS),
            rule=pl.col("rule").unique(maintain_order=True).str.join(", "),
        )
    )
    cents = [f"{name}_cents" for name in _MEANS]
    return (
        jobs.with_columns(papercut_cents=whole_cents(rules), chargeable=counts())
        .join(paid, on="job_id", how="left")
        .join(people, on="coworker_id", how="left")
        .with_columns(pl.col(cents).fill_null(0), charged=pl.col("rule").is_not_null())
        .with_columns(
            not_charged_cents=pl.when(~pl.col("charged")).then("papercut_cents").otherwise(0),
        )
        .sort("printed_at", pl.col("job_id").str.zfill(11))
    )


def _sums() -> list[pl.Expr]:
    """What customers, teams and printers are summed up in."""
    return [
        pl.len().cast(pl.Int64).alias("jobs"),
        pl.col("pages", "color_pages").sum(),
        *(pl.col(f"{name}_cents").sum() for name in _MEANS),
    ]


def _customers(charged: pl.DataFrame) -> pl.DataFrame:
    who = ["coworker_id", "full_name", "email", "team", "company"]
    return charged.filter("charged").group_by(who).agg(_sums()).sort("full_name", "coworker_id", nulls_last=True)


def _teams(charged: pl.DataFrame) -> pl.DataFrame:
    return (
        charged.filter("charged")
        .group_by("team")
        .agg(pl.col("coworker_id").n_unique().cast(pl.Int64).alias("customers"), *_sums())
        .sort("team", nulls_last=True)
    )


def _printers(charged: pl.DataFrame) -> pl.DataFrame:
    return (
        charged.filter("chargeable")
        .group_by("printer")
        .agg(*_sums(), pl.col("not_charged_cents", "papercut_cents").sum())
        .sort("printer")
    )


def _jobs(charged: pl.DataFrame, days: pl.DataFrame, rules: SiteRules) -> pl.DataFrame:
    notes = days.filter(pl.col("finding") != "ok").select("job_id", note="finding").unique("job_id", keep="any")
    return charged.join(notes, on="job_id", how="left", maintain_order="left").select(
        "job_id",
        _local("printed_at", rules).alias("printed_at"),
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
    )


def _held_and_refunds(lines: pl.DataFrame, people: pl.DataFrame, rules: SiteRules) -> pl.DataFrame:
    """Lines that wait for a person or an answer, lines that a person voided, and every reversal."""
    return (
        lines.filter(pl.col("state").is_in(["held", "unknown", "sending", "void"]) | pl.col("undoes").is_not_null())
        .join(people, on="coworker_id", how="left")
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
    """One row per day; the findings are those that nobody can explain."""
    wrong = pl.col("unexplained_cents") != 0
    return (
        days.sort("day", pl.col("job_id").str.zfill(11))
        .group_by("day", maintain_order=True)
        .agg(
            pl.len().cast(pl.Int64).alias("rows"),
            pl.col("^.*_cents$").sum(),
            wrong.sum().cast(pl.Int64).alias("wrong"),
            pl.col("finding").filter(wrong).str.join(" ").alias("findings"),
        )
    )


def _summary(
    charged: pl.DataFrame, lines: pl.DataFrame, days: pl.DataFrame, rules: SiteRules, month: str
) -> pl.DataFrame:
    """One row per figure: how many jobs (or rows) and how much money."""
    paid = {
        f"{name}_cents": label
        for name, label in zip(
            _MEANS, ("paid with credits", "charged as money", "waived", "held for a person"), strict=True
        )
    }
    reversed_lines = lines.filter(pl.col("undoes").is_not_null(), pl.col("state") != "void")
    figures: list[tuple[str, int, int | None]] = [
        ("jobs logged", charged.height, None),
        ("pages of chargeable jobs", _total(charged.filter("chargeable"), "pages"), None),
        ("colour pages of chargeable jobs", _total(charged.filter("chargeable"), "color_pages"), None),
        ("chargeable in PaperCut", charged.filter("chargeable").height, _total(charged, "papercut_cents")),
        *((label, charged.filter(pl.col(name) > 0).height, _total(charged, name)) for name, label in paid.items()),
        ("not charged", charged.filter(pl.col("not_charged_cents") > 0).height, _total(charged, "not_charged_cents")),
        ("reversed", reversed_lines.height, _total(reversed_lines, "amount_cents")),
        ("sales in Nexudus", days.filter(pl.col("nexudus_cents") > 0).height, _total(days, "nexudus_cents")),
        ("unexplained", days.filter(pl.col("unexplained_cents") != 0).height, _total(days, "unexplained_cents")),
    ]
    frame = pl.DataFrame(
        figures, schema={"figure": pl.String, "number": pl.Int64, "amount_cents": pl.Int64}, orient="row"
    )
    return frame.select(pl.lit(rules.name).alias("site"), pl.lit(month).alias("month"), pl.all())


def _total(frame: pl.DataFrame, column: str) -> int:
    return frame.select(pl.col(column).sum()).item()


def _local(column: str, rules: SiteRules) -> pl.Expr:
    return pl.col(column).dt.convert_time_zone(rules.timezone).dt.strftime("%Y-%m-%d %H:%M")


def _with_amounts(sheet: pl.DataFrame) -> pl.DataFrame:
    """After each column in cents, the same in major units as text: 1205 -> 12.05."""
    shown: list[pl.Expr] = []
    for name in sheet.columns:
        shown.append(pl.col(name))
        if name.endswith("_cents"):
            cents = pl.col(name)
            sign = pl.when(cents < 0).then(pl.lit("-")).otherwise(pl.lit(""))
            units, rest = (cents.abs() // 100).cast(pl.String), (cents.abs() % 100).cast(pl.String).str.zfill(2)
            shown.append((sign + units + "." + rest).alias(name.removesuffix("_cents")))
    return sheet.select(shown)
