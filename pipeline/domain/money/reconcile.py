"""Reconciliation: do PaperCut, the ledger and Nexudus agree, job by job and line by line?

What belongs here: comparing the three for one day of a site, and the site's calendar. What does not: repairing
anything; each finding names the next step instead. Findings are returned and never raised, so that one report shows all
(`money-safety.md` 3.3, I1 to I7). Two errors never cancel: differences are absolute, line by line.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import polars as pl

from pipeline.domain.money.attribution import counts
from pipeline.domain.money.history import NO_PAST, Past, as_it_was, charged_since
from pipeline.domain.money.references import code_of
from pipeline.domain.rules import SiteRules
from pipeline.domain.tables import columns

_DONE = ("confirmed", "invoiced")
_FINDINGS = pl.Schema(
    {"job_id": pl.String, "explained_cents": pl.Int64, "unexplained_cents": pl.Int64, "finding": pl.String}
)


def site_day(column: str | pl.Expr, timezone: str) -> pl.Expr:
    """The site's calendar day of a UTC time.

    Args:
        column: a UTC Datetime, or the name of its column.
        timezone: the site's zone, for example Europe/London.
    """
    moment = pl.col(column) if isinstance(column, str) else column
    return moment.dt.convert_time_zone(timezone).dt.date()


def day_bounds(day: date, timezone: str) -> tuple[datetime, datetime]:
    """The first moment of a site's day and of the next one, UTC: 23, 24 or 25 hours apart."""
    zone = ZoneInfo(timezone)
    # Where the clock skips midnight, fold 0 means the offset before: exactly the moment of the change.
    first, last = (datetime.combine(each, time(), zone).astimezone(UTC) for each in (day, day + timedelta(days=1)))
    return first, last


def reconcile(
    jobs: pl.DataFrame,
    ledger: pl.DataFrame,
    sales: pl.DataFrame,
    *,
    rules: SiteRules,
    day: date,
    now: datetime,
    names: pl.DataFrame,
    assigned: pl.DataFrame | None = None,
    by_hand: Collection[str] = (),
    past: Past = NO_PAST,
) -> pl.DataFrame:
    """Compare the three books for the jobs of one day.

    Args:
        jobs: PrintJobs, the latest revision of each job; other days do no harm.
        ledger: every ledger line of the site: PrintCharges with the current state (`tables.STATES`).
        sales: what Nexudus holds, deleted ones left out: remote_id, ref, coworker_id, quantity, total_cents, invoiced.
        rules: the choices of the site.
        day: a day in the site's time zone.
        now: the current time, UTC.
        names: username of everybody who is or was ours.
        assigned: job_id, coworker_id: jobs that a person gave to a customer, or waived (no customer).
        by_hand: the references of the lines that a person confirmed without naming a sale.
        past: what held in former times: a job costs what the rules made of it when it was printed.

    Returns:
        Reconciliation: a row for each job of the day, and one for each finding without such a job; by job id.
    """
    jobs = jobs.filter(site=rules.name)
    today = jobs.filter(site_day("printed_at", rules.timezone) == day).with_columns(
        printed_cents=as_it_was(past, rules, whole_cents), chargeable=charged_since(past, rules)
    )
    ledger = _standing(ledger.filter(site=rules.name))
    orphan = (site_day("printed_at", rules.timezone) == day) & ~pl.col("job_id").is_in(jobs["job_id"].implode())
    lines = ledger.filter(pl.col("job_id").is_in(today["job_id"].implode()) | orphan)
    ours = sales.filter(pl.col("ref").str.slice(3, 3) == code_of(rules))
    paired = _paired(lines, ours).with_columns(by_hand=pl.col("ref").is_in(list(by_hand)))
    strangers = _strangers(ours, ledger, jobs, today)
    books = _books(today, lines, names, assigned)
    findings = pl.concat([_job_findings(books, rules, now), _line_findings(paired), _stranger_findings(strangers)])
    held = pl.concat(
        [
            paired.select("job_id", "sale_cents", nexudus_cents="total"),
            strangers.select("job_id", sale_cents=0, nexudus_cents="total_cents"),
        ],
        how="vertical_relaxed",
    )
    job_ids = pl.concat([today.select("job_id"), findings.select("job_id")]).unique()
    return (
        job_ids.join(books.select("job_id", "printed_cents", "ledger_cents"), on="job_id", how="left")
        .join(held.group_by("job_id").agg(pl.all().sum()), on="job_id", how="left")
        .join(_summed(findings), on="job_id", how="left")
        .with_columns(
            pl.col("printed_cents", "ledger_cents", "sale_cents", "nexudus_cents").fill_null(0),
            pl.col("explained_cents", "unexplained_cents").fill_null(0),
            pl.col("finding").fill_null("ok"),
            site=pl.lit(rules.name),
            day=pl.lit(day),
        )
        .sort(pl.col("job_id").str.zfill(11))
        .select(pl.col(name).cast(dtype) for name, dtype in columns("reconciliation").items())
    )


def summary(reconciliation: pl.DataFrame) -> dict[str, int]:
    """The totals of a Reconciliation: rows, rows with an unexplained difference, and every column in cents."""
    cents = [name for name in reconciliation.columns if name.endswith("_cents")]
    wrong = reconciliation.filter(pl.col("unexplained_cents") != 0).height
    return {
        "jobs": reconciliation.height,
        "wrong": wrong,
        **reconciliation.select(pl.col(cents).sum()).row(0, named=True),
    }


# --- the books --------------------------------------------------------------------------------------------------------


def _standing(ledger: pl.DataFrame) -> pl.DataFrame:
    """The lines as entered, each with what reverses it and whether it stands: live, voided (by a person) or undone.

    A reversal that a person voided was refused: its line stays live and is `kept`.
    """
    undo = ledger.select(ref="undoes", undo_state="state", undo_revision="revision")
    void = pl.col("state") == "void"
    kept = ~void & (pl.col("undo_state") == "void")
    return (
        ledger.filter(pl.col("undoes").is_null())
        .join(undo, on="ref", how="left")
        .with_columns(
            kept=kept,
            stands=pl.when(pl.col("undo_state").is_not_null() & ~kept)
            .then(pl.lit("undone"))
            .when(void)
            .then(pl.lit("voided"))
            .otherwise(pl.lit("live")),
        )
    )


def whole_cents(rules: SiteRules) -> pl.Expr:
    """The chargeable cost of a job in whole cents; half up where the site holds fractions, 0 where it is unknown.

    Worked out anew rather than taken from `charges.py`, so that a slip there shows here.
    """
    cost = pl.when(counts() & (pl.col("cost") > 0)).then("cost").otherwise(0)
    rounded = cost.ceil() if rules.rounding == "up" else (cost + Decimal("0.5")).floor()
    return rounded.cast(pl.Int64)


def _books(
    today: pl.DataFrame, lines: pl.DataFrame, names: pl.DataFrame, assigned: pl.DataFrame | None
) -> pl.DataFrame:
    """One row per job: what PaperCut and the ledger say; `logged` is null for a job only the ledger knows."""
    amount, stands = pl.col("amount_cents"), pl.col("stands")
    told = lines.group_by("job_id").agg(
        ledger_cents=amount.filter(stands == "live").sum(),
        voided_cents=amount.filter(stands == "voided").sum(),
        decided=pl.max_horizontal("revision", "undo_revision").max(),
        kept=pl.col("kept").any(),
        customer=pl.col("coworker_id").sort_by("ref").last(),
    )
    given = pl.DataFrame(schema={"job_id": pl.String, "coworker_id": pl.Int64}) if assigned is None else assigned
    waived = given.filter(pl.col("coworker_id").is_null())["job_id"].implode()
    job = pl.col("job_id")
    return (
        today.with_columns(
            logged=True,
            attributed=pl.col("username").is_in(names["username"].implode()) & ~pl.col("shared_account"),
        )
        .with_columns(attributed=(pl.col("attributed") | job.is_in(given["job_id"].implode())) & ~job.is_in(waived))
        .join(told, on="job_id", how="full", coalesce=True)
        .with_columns(
            pl.col("printed_cents", "ledger_cents", "voided_cents").fill_null(0),
            waived=job.is_in(waived),
        )
    )


def _paired(lines: pl.DataFrame, sales: pl.DataFrame) -> pl.DataFrame:
    """One row per sale line with what Nexudus holds under its reference, and what the ledger expects there."""
    per_ref = sales.group_by("ref").agg(
        pl.col("total_cents").fill_null(pl.col("quantity")).sum().alias("total"),
        pl.col("quantity").sum(),
        pl.col("coworker_id").sort_by("remote_id").first().alias("charged_customer"),
        found=pl.len(),
        billed=pl.col("invoiced").all(),
    )
    state, undo = pl.col("state"), pl.col("undo_state")
    live = pl.col("stands") == "live"
    expects = (
        pl.when(live & state.is_in(list(_DONE))).then(pl.lit("sale"))
        .when(live).then(pl.lit("later"))
        .when((pl.col("stands") == "voided") | (undo == "void")).then(pl.lit("nothing"))
        .when(~undo.is_in(list(_DONE))).then(pl.lit("either"))
        .when((state == "invoiced") | ((state == "confirmed") & pl.col("billed"))).then(pl.lit("either"))
        .otherwise(pl.lit("nothing"))
    )  # fmt: skip
    return (
        lines.filter(kind="sale")
        .join(per_ref, on="ref", how="left")
        .with_columns(pl.col("total", "quantity", "found").fill_null(0), expects=expects)
        .with_columns(
            sale_cents=pl.when(state.is_in(list(_DONE)) & (live | ~undo.is_in(["void", *_DONE]).fill_null(value=False)))
            .then("amount_cents")
            .otherwise(0)
        )
    )


def _strangers(sales: pl.DataFrame, ledger: pl.DataFrame, jobs: pl.DataFrame, today: pl.DataFrame) -> pl.DataFrame:
    """Sales under references of this site that the ledger does not know: for today's jobs, and for no job at all."""
    elsewhere = jobs.join(today, on="job_id", how="anti")["job_id"]
    job = pl.col("ref").str.slice(7, 11).str.replace("^0{1,10}", "")
    return (
        sales.join(ledger.filter(kind="sale"), on="ref", how="anti")
        .with_columns(job_id=job)
        .filter(~pl.col("job_id").is_in(elsewhere.implode()))
    )


# --- the findings -----------------------------------------------------------------------------------------------------


def _job_findings(books: pl.DataFrame, rules: SiteRules, now: datetime) -> pl.DataFrame:
    """PaperCut against the ledger: the first reason that explains a difference, else what is wrong."""
    cost, told, voided = pl.col("printed_cents"), pl.col("ledger_cents"), pl.col("voided_cents")
    settled_before = now - timedelta(minutes=rules.maturity_minutes)
    entered, silent = pl.col("decided").is_not_null(), (told == 0) & (voided == 0)
    difference = (cost - told).abs()
    charged_stranger = ~pl.col("attributed") & (told > 0)
    changed = pl.col("revision") > pl.col("decided")
    explanations = {
        "a later report lacks it, so a person decides whether it was taken back": pl.col("lacked_by").is_not_null()
        & entered
        & silent,
        "a person refused to reverse its charge of {told} cents": pl.col("kept"),
        "the row changed in PaperCut at {seen} UTC and is decided in the next run": changed
        & (pl.col("first_seen_at") > settled_before),
        "a person waived it, so nobody is charged": silent & pl.col("waived"),
        "nobody is charged, because the user never was ours or the job went to a shared account": silent
        & ~pl.col("attributed"),
        "it was printed before charge_from, so nobody is charged": silent & ~pl.col("chargeable"),
        "it is charged once it is {minutes} minutes old": ~entered & (pl.col("printed_at") > settled_before),
        "a person voided {voided} cents, so they are not owed": (voided > 0) & (cost - told == voided),
    }
    errors = {
        "the ledger has {told} cents for a job that PaperCut's log does not have; look for it in PaperCut, and"
        " delete its sale in Nexudus if nobody printed it": pl.col("logged").is_null(),
        "the ledger has {told} cents although the user never was ours or the job went to a shared account; if"
        " nobody is to pay, delete its sale in Nexudus and void the line that is held for it": charged_stranger,
        "PaperCut charged {cost} cents and the ledger has no line; run `printbridge run --site {site}`, and if it"
        " stays, `printbridge explain {job}`": ~entered,
        "PaperCut says {cost} cents for customer {customer}, the ledger {told}; see `printbridge explain {job}` and"
        " decide what is held of it; or charge or credit the rest by hand, then `printbridge held accept --job {job}"
        " --reason TEXT`": pl.lit(value=True),
    }
    wrong = pl.when((difference > 0) | charged_stranger)
    values = {
        "told": told, "cost": cost, "voided": voided, "job": pl.col("job_id"), "customer": pl.col("customer"),
        "site": pl.lit(rules.name), "minutes": pl.lit(rules.maturity_minutes),
        "seen": pl.col("first_seen_at").dt.to_string("%Y-%m-%d %H:%M"),
    }  # fmt: skip
    return _findings(
        books.with_columns(
            cents=wrong.then(pl.max_horizontal(difference, pl.when(charged_stranger).then(told))),
            explanation=_first(explanations, values),
            error=_first(errors, values),
        ),
        pl.format("Job {}: {}.", "job_id", pl.coalesce("explanation", "error")),
    )


def _line_findings(paired: pl.DataFrame) -> pl.DataFrame:
    """The ledger against Nexudus, for each sale line."""
    amount, total, found, expects = pl.col("amount_cents"), pl.col("total"), pl.col("found"), pl.col("expects")
    other = pl.col("charged_customer").ne_missing(pl.col("coworker_id"))
    off = pl.max_horizontal((total - amount).abs(), (pl.col("quantity") - amount).abs())
    extra = pl.max_horizontal((total - amount).abs(), 1)
    errors = {
        "Nexudus holds {found} sales of together {total} cents for one of {amount}; delete all but one there": (
            found > 1, extra,
        ),
        "Nexudus holds a sale of {total} cents although the line is void or undone; delete it there; if it is on an"
        " invoice, issue a credit note, then `printbridge held accept --job {job} --reason TEXT`": (
            (found > 0) & (expects == "nothing"), pl.max_horizontal(total.abs(), 1),
        ),
        "the sale of {amount} cents is confirmed but missing in Nexudus; see whether somebody deleted it, then"
        " `printbridge held retry {ref}` or `printbridge held void {ref}`": (
            (found == 0) & (expects == "sale") & ~pl.col("by_hand"), amount,
        ),
        "Nexudus charged customer {other} instead of {customer} for {amount} cents; move the sale in Nexudus": (
            (found == 1) & other, pl.max_horizontal(amount, off, 1),
        ),
        "Nexudus holds {total} cents in {quantity} units, the ledger has {amount}; correct the sale in Nexudus": (
            (found == 1) & (off > 0), off,
        ),
    }  # fmt: skip
    explanations = {
        "the line of {amount} cents is {state}, and its sale is in Nexudus already; the next run looks it up": (
            found > 0
        )
        & (expects == "later"),
        "the line of {amount} cents is held for a person: see `printbridge held list`": (expects == "later")
        & (pl.col("state") == "held"),
        "the line of {amount} cents is {state} and not yet in Nexudus": expects == "later",
        "a person charged {amount} cents by hand and confirmed the line without naming a sale": (expects == "sale")
        & pl.col("by_hand")
        & (found == 0),
        "its sale of {amount} cents is being reversed, or was credited after it was invoiced": (expects == "either")
        & (found > 0),
    }
    values = {
        "found": found, "total": total, "amount": amount, "customer": pl.col("coworker_id"), "state": pl.col("state"),
        "other": pl.col("charged_customer"), "quantity": pl.col("quantity"), "ref": pl.col("ref"),
        "job": pl.col("job_id"),
    }  # fmt: skip
    error = _first({text: applies for text, (applies, _) in errors.items()}, values)
    explanation = _first(explanations, values)
    return _findings(
        paired.with_columns(
            cents=pl.coalesce(
                *(pl.when(applies).then(cents) for applies, cents in errors.values()),
                pl.when(explanation.is_not_null()).then(amount),
            ),
            error=error,
            explanation=pl.when(error.is_null()).then(explanation),
        ),
        pl.format("Job {}, {}: {}.", "job_id", "ref", pl.coalesce("error", "explanation")),
    )


def _stranger_findings(strangers: pl.DataFrame) -> pl.DataFrame:
    text = pl.format(
        "Job {}, {}: Nexudus charged customer {} {} cents under a reference that the ledger does not know; run"
        " `printbridge recover`, or delete the sale in Nexudus.",
        "job_id", "ref", "coworker_id", "total_cents",
    )  # fmt: skip
    return _findings(
        strangers.sort("ref", "remote_id").with_columns(
            cents=pl.max_horizontal(pl.col("total_cents").abs(), 1), explanation=pl.lit(None, pl.String)
        ),
        text,
    )


def _first(texts: dict[str, pl.Expr], values: dict[str, pl.Expr]) -> pl.Expr:
    """The first text whose condition holds, with its `{names}` filled in; null if none holds."""
    return pl.coalesce(*(pl.when(applies).then(_filled(text, values)) for text, applies in texts.items()))


def _filled(text: str, values: dict[str, pl.Expr]) -> pl.Expr:
    """A text with the values of its `{names}`; an empty value is a dash."""
    for name in values:
        text = text.replace(f"{{{name}}}", f"\0{name}\0")
    parts = text.split("\0")
    return pl.concat_str(
        values[part].cast(pl.String).fill_null("-") if place % 2 else pl.lit(part) for place, part in enumerate(parts)
    )


def _findings(frame: pl.DataFrame, text: pl.Expr) -> pl.DataFrame:
    """Rows with cents as findings: explained if they have an explanation."""
    explained = pl.col("explanation").is_not_null()
    return frame.filter(pl.col("cents").is_not_null()).select(
        "job_id",
        explained_cents=pl.when(explained).then("cents").otherwise(0).cast(pl.Int64),
        unexplained_cents=pl.when(explained).then(0).otherwise("cents").cast(pl.Int64),
        finding=text,
    )


def _summed(findings: pl.DataFrame) -> pl.DataFrame:
    """The findings of each job together, the unexplained ones first."""
    return (
        findings.sort(pl.col("unexplained_cents") == 0, "finding")
        .group_by("job_id", maintain_order=True)
        .agg(pl.col("explained_cents", "unexplained_cents").sum(), pl.col("finding").str.join(" "))
    )
