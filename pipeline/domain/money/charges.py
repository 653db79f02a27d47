"""What each print job costs whom: the ledger lines that a run adds.

What belongs here: which jobs are decided now, what pays for them, and what a late change reverses (design 5,
`rules.md` 5 and 7). What does not: whose a job is (`attribution.py`), the states of a line after it was entered
(`pipeline.store.ledger`), credits in themselves (`credits.py`), and telling Nexudus (`pipeline.effects`).

Every function takes the frames of one site, in any row order. Money is whole cents, times are UTC.
"""

from __future__ import annotations

from collections.abc import Generator
from datetime import datetime, timedelta
from itertools import pairwise

import polars as pl

from pipeline.domain import tables
from pipeline.domain.money.attribution import counts, owned
from pipeline.domain.money.credits import Payment, payment, shared_payment, too_large, usable
from pipeline.domain.money.history import NO_PAST, Era, Past, eras
from pipeline.domain.money.payers import pooled, with_payer
from pipeline.domain.money.reasons import CHARGED_AND_MISSING, HELD, OVERRULED, SHOWN, WAIVED, with_reason
from pipeline.domain.money.references import code_of, references
from pipeline.domain.money.reversals import ORIGINALS, overruled, reopened, standing
from pipeline.domain.money.sharing import periods
from pipeline.domain.rules import SiteRules

_MOST_LINES = 36  # a reference has one digit of base 36 for the sequence
_ROWS = 500_000  # jobs whose lines are made at a time
_DECIDES = [
    "job_id", "revision", "printed_at", "username", "printer", "paper", "pages", "color_pages", "cost", "allowed",
    "printed", "refunded", "job_type", "shared_account", "twin", "lacked_by",
]  # fmt: skip
_ORDER = ("printed_at", "job_id", "ref")
_LINE = [name for name in tables.columns("print_charges").names() if name not in {"ref", "site"}]


def print_charges(
    jobs: pl.DataFrame,
    *,
    accounts: pl.DataFrame,
    customers: pl.DataFrame,
    names: pl.DataFrame,
    grants: pl.DataFrame,
    uses: pl.DataFrame,
    ledger: pl.DataFrame,
    rules: SiteRules,
    now: datetime,
    past: Past = NO_PAST,
    assigned: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """The ledger lines that are to be added now; none when there is nothing to decide.

    Decided are mature jobs since `charge_from` that count, are attributed and have no line yet, or whose lines were all
    reversed. A job with lines is looked at again when its row changed: what no longer counts is reversed; another cost,
    or a rule that held it, is reversed and decided again; where a later report lacks it, its reversal is held. Means in
    order: free, credits, money; else held (design 5).

    Args:
        jobs: PrintJobs, the latest revision of each job.
        accounts: PrintAccounts.
        customers: NexudusCustomers.
        names: as for `attribution.attributed`.
        grants: NexudusCredits.
        uses: credit_id, open_cents: credit use in the ledger that `grants` does not contain.
        ledger: all lines so far of these jobs: the columns of PrintCharges, state in STATES.
        rules: the site's choices now.
        now: aware UTC.
        past: what held in former times: a job is decided by what held when it was printed.
        assigned: job_id, coworker_id, email_key: jobs that a person gave to a customer, or waived (no customer).

    Returns:
        PrintCharges, by (printed_at, job_id, ref).

    Raises:
        polars.exceptions.InvalidOperationError: a job id does not fit a reference.
    """
    before, undo = _before(ledger), list[pl.DataFrame]()
    deciding: list[tuple[SiteRules, pl.DataFrame]] = []
    for era in eras(past, rules):
        decided: list[pl.DataFrame] = []
        for part in _parts(jobs.select(_DECIDES), era):
            cases = _cases(part, names, before, era.rules, now, assigned=assigned)
            undo.append(cases.filter("undo"))
            decided.append(_decided(with_payer(cases.filter("decide"), accounts, customers, past.access), era.rules))
        deciding.append((era.rules, pl.concat(decided)))
    undone = _undone(pl.concat(undo), ledger)
    # What an undone line gives back can pay for the same job again; a held use was never counted as open.
    given_back = undone.filter((pl.col("kind") == "undo_credit") & ~pl.col("was_held"))
    uses = pl.concat(
        [uses.select("credit_id", "open_cents"), given_back.select("credit_id", open_cents=-pl.col("amount_cents"))]
    )
    lines = [_named(undone.select(_LINE), rules).sort(_ORDER)]
    for of_era, cases in deciding:
        sharing = periods(past.sharing) if of_era.shares_credits else None
        pool = pooled(usable(grants, uses, of_era), accounts, customers, sharing)
        large = pooled(too_large(grants, uses, of_era), accounts, customers, sharing)
        lines.append(_paid(_waiting_for(large, pool, cases, of_era), pool, of_era))
        used = lines[-1].filter(kind="credit").select("credit_id", open_cents="amount_cents")
        uses = pl.concat([uses, used])
    first, *others = [part for part in lines if part.height] or lines
    return pl.concat([first, *others]).sort(_ORDER) if others else first


# --- which jobs ------------------------------------------------------------------------------------------------------


def _charged_since(rules: SiteRules) -> pl.Expr:
    return pl.col("printed_at") >= rules.charge_from


def _held() -> pl.Expr:
    return pl.col("state") == "held"


def _parts(jobs: pl.DataFrame, era: Era) -> Generator[pl.DataFrame, None, None]:
    """The jobs of an era, about `_ROWS` at a time, one stretch of time after the other: each is decided on its own."""
    at, always = pl.col("printed_at"), pl.lit(value=True)
    if era.since or era.until:
        jobs = jobs.filter(at >= era.since if era.since else always, at < era.until if era.until else always)
    later = jobs["printed_at"].sort().gather_every(_ROWS, _ROWS).to_list()
    for since, until in pairwise([None, *later, None]):
        yield jobs.filter(at >= since if since else always, at < until if until else always)


def _before(ledger: pl.DataFrame) -> pl.DataFrame:
    """What the ledger has of each job: the next free sequence of each kind (sales, credits, waives), what stands."""
    # A reversal has the number of what it reverses, which a recovered ledger may lack.
    original, reversal = pl.col("kind").str.strip_prefix("undo_"), pl.col("undoes").is_not_null()
    entered = ledger.group_by("job_id").agg(
        decided_revision=pl.col("revision").max(),
        pending=(reversal & ~pl.col("state").is_in(["confirmed", "void"])).any(),
        **{f"{kind}s": pl.col("seq").filter(original == kind).max() + 1 for kind in ORIGINALS},
    )
    stands, kept = pl.col("stands"), pl.col("kept")
    stood_for = (
        standing(ledger)
        .filter(stands != "undone")
        .sort("revision", "ref")
        .group_by("job_id")
        .agg(
            pl.col("coworker_id", "email_key").last().name.prefix("charged_"),
            stood_at=pl.col("revision").max(),
            standing=pl.col("amount_cents").filter(~kept).sum(),
            kept=pl.col("amount_cents").filter(kept).sum(),
            waiting=(~kept & _held() & pl.col("rule").is_in(HELD)).any(),
            voided=(stands == "voided").any(),
        )
    )
    return entered.join(stood_for, on="job_id", how="left").join(reopened(ledger), on="job_id", how="left")


def _cases(
    jobs: pl.DataFrame,
    names: pl.DataFrame,
    before: pl.DataFrame,
    rules: SiteRules,
    now: datetime,
    *,
    assigned: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """The jobs to `undo` (those of their lines that are live), to `decide`, or both; by (printed_at, job_id).

    What a person refused to reverse is paid: only what the job costs beyond that is decided, then and when it changes.
    """
    stood = pl.col("standing").is_not_null()
    changed = stood & (pl.col("revision") > pl.col("decided_revision"))
    differs = (pl.col("amount") != pl.col("standing")) | pl.col("waiting")
    all_open, lacks = pl.col("kept").fill_null(0) == 0, pl.col("amount") > 0
    again = pl.col("reopened_at") > pl.col("stood_at").fill_null(-2)
    again &= all_open | ~pl.col("pending")
    mature = pl.col("printed_at") <= now - timedelta(minutes=rules.maturity_minutes)
    chargeable = counts() & ~pl.col("shared_account")
    # A report may lack a job for another reason than a refund: a person decides, once.
    lacked = pl.col("lacked_by").is_not_null() & chargeable
    first = pl.col("decided_revision").is_null() | ~lacked
    return (
        owned(jobs, names, assigned)
        .join(before, on="job_id", how="left", maintain_order="left")
        .with_columns(amount=pl.max_horizontal(0, amount(rules) - pl.col("kept").fill_null(0)))
        .with_columns(
            # A job that was charged stays with its customer: a user who is renamed in PaperCut renames old jobs too.
            *(
                pl.when(stood).then(f"charged_{name}").when(again).then(f"reopened_{name}").otherwise(name).alias(name)
                for name in ("coworker_id", "email_key")
            ),
            decide=chargeable
            & pl.when(stood)
            .then(((changed & differs & ~lacked) | again) & (all_open | lacks))
            .otherwise(again | (pl.col("ours") & _charged_since(rules) & mature & first)),
            # A person who lets a job be decided again has seen what held it, unless it costs something else now.
            asked=pl.when(again & (pl.col("amount") == pl.col("asked_amount"))).then("asked"),
            undo=changed & pl.when(lacked).then(~pl.col("waiting")).otherwise(differs | ~chargeable),
            ask=lacked,
        )
        .filter(pl.col("decide") | pl.col("undo"))
        .with_columns(pl.col("sales", "credits", "waives").fill_null(0))
        .with_columns(turns=pl.max_horizontal("sales", "credits", "waives"))
        .filter(pl.col("turns") < _MOST_LINES)  # after the last line that fits a person goes on alone
    )


def _undone(cases: pl.DataFrame, ledger: pl.DataFrame) -> pl.DataFrame:
    """The reversing lines, one for each live line of the cases to undo, with the sequence of the line they reverse."""
    return (
        standing(ledger)
        .filter((pl.col("stands") == "live") & ~pl.col("kept"))
        .drop("revision", "rule")
        .join(cases.filter("undo").select("job_id", "revision", "decide", "ask", "lacked_by"), on="job_id")
        .filter(~pl.col("ask") | (pl.col("kind") != "waive"))
        .with_columns(
            kind="undo_" + pl.col("kind"),
            undoes="ref",
            was_held=_held(),
            state=pl.when(pl.col("kind") == "waive")
            .then(pl.lit("confirmed"))
            .when("ask")
            .then(pl.lit("held"))
            .otherwise(pl.lit("priced")),
            rule=pl.when("ask")
            .then(pl.lit("row_missing"))
            .when("decide")
            .then(pl.lit("job_changed"))
            .otherwise(pl.lit("no_longer_counts")),
            reason=pl.when("ask").then(pl.format(CHARGED_AND_MISSING, "lacked_by")),
        )
        .select(*_LINE, "was_held")
    )


# --- what pays -------------------------------------------------------------------------------------------------------


def amount(rules: SiteRules) -> pl.Expr:
    """The cost in whole cents by the site's rounding (half up where it holds fractions); 0 where it is unknown."""
    cost = pl.when(pl.col("cost") >= 0).then("cost")
    whole = cost.ceil() if rules.rounding == "up" else cost.round(0, mode="half_away_from_zero")
    return whole.cast(pl.Int64).fill_null(0)


def _decided(jobs: pl.DataFrame, rules: SiteRules) -> pl.DataFrame:
    """The jobs with the rule that decides them, the first that applies; null where credits and money do."""
    cost = pl.col("cost")
    verdicts = {
        "too_many_changes": pl.col("turns") >= _MOST_LINES - 1,
        "free": pl.col("free") | pl.lit(rules.pricing_model == "free_unlimited"),
        "no_price": cost.is_null() & pl.lit("cost" not in rules.holds),
        "cost_unknown": cost.is_null() | (cost < 0),
        "fractional_cost": (cost != cost.floor()) & pl.lit(rules.rounding == "hold"),
        "zero_cost": pl.col("amount") == 0,
        "voided_before": pl.col("voided"),
        "twin": pl.col("twin").is_not_null(),
        "row_missing": pl.col("lacked_by").is_not_null(),
        "above_max_charge": pl.col("amount") > rules.max_charge,
        "customer_gone": pl.col("gone"),
    }
    verdicts |= {rule: verdicts[rule] & ~overruled(rule) for rule in OVERRULED if rule in verdicts}
    return jobs.with_columns(
        charged=(pl.col("pay") & pl.lit(rules.takes_money)) | overruled("overdrawn"),
        rule=pl.coalesce(*(pl.when(applies).then(pl.lit(rule)) for rule, applies in verdicts.items())),
    )


def _waiting_for(large: pl.DataFrame, pool: pl.DataFrame, jobs: pl.DataFrame, rules: SiteRules) -> pl.DataFrame:
    """The jobs; those that a credit above `max_credits` would pay, alone or with others, wait for a person."""
    if large.is_empty():
        return jobs
    used = _from_credits(jobs.with_row_index("place"), pl.concat([pool, large]), rules)[0]
    places = used.filter(pl.col("credit_id").is_in(large["credit_id"].implode()))["place"].unique().implode()
    held = pl.when(pl.int_range(pl.len()).is_in(places)).then(pl.lit("credit_too_large"))
    return jobs.with_columns(rule=pl.coalesce("rule", held))


def _paid(jobs: pl.DataFrame, pool: pl.DataFrame, rules: SiteRules) -> pl.DataFrame:
    """The new lines of decided jobs: credits in the order of use, then what they leave: money, waived or held.

    By (printed_at, job_id, ref) as the jobs are. A job is known by its place among them, which is quicker than its id.
    Who pays is decided for all jobs at once; the lines are then made for some at a time, which need not touch new
    memory for every column of millions.
    """
    jobs = jobs.with_row_index("place")
    used, left = _from_credits(jobs, pool, rules)
    parts = [_lines(jobs.clear(), used.clear(), left.clear(), rules)]
    for first in range(0, jobs.height, _ROWS):
        here = pl.col("place").is_between(first, first + _ROWS, closed="left")
        parts.append(_lines(jobs.slice(first, _ROWS), used.filter(here), left.filter(here), rules))
    return pl.concat(parts)


def _lines(jobs: pl.DataFrame, used: pl.DataFrame, left: pl.DataFrame, rules: SiteRules) -> pl.DataFrame:
    """The lines of jobs that stand side by side: the credit lines, and what they leave, with their references."""
    paid = used.group_by("place").agg(paid=pl.col("amount_cents").sum())
    waived, held = pl.col("rule").is_in(WAIVED), pl.col("rule").is_in(HELD)
    rest = (
        jobs.lazy()
        .join(paid.lazy(), on="place", how="left")
        .join(left.lazy(), on="place", how="left")
        .with_columns(amount_cents=pl.col("amount") - pl.col("paid").fill_null(0))
        .filter((pl.col("amount_cents") > 0) | pl.col("rule").is_not_null())
        .with_columns(
            rule=pl.coalesce(
                "rule",
                pl.when("crowded", ~overruled("too_many_credits")).then(pl.lit("too_many_credits")),
                pl.when("charged").then(pl.lit("money")),
                pl.lit("overdrawn"),
            ),
        )
        .select(
            "place", "amount_cents", "rule", *SHOWN,
            credit_id=pl.lit(None, pl.Int64),
            credit_coworker_id=pl.lit(None, pl.Int64),
            product_id=pl.when(~waived).then(pl.lit(rules.charge_product_id, pl.Int64)),
            kind=pl.when(waived).then(pl.lit("waive")).otherwise(pl.lit("sale")),
            seq=pl.when(waived).then("waives").otherwise("sales"),
            state=pl.when(waived).then(pl.lit("confirmed")).when(held).then(pl.lit("held")).otherwise(pl.lit("priced")),
        )
        .collect()
        .pipe(with_reason, rules)
    )  # fmt: skip
    # Stable, and the letters of the kinds in a reference rise as here: credit lines, then the rest.
    lines = pl.concat([used, rest.select(used.columns)]).sort("place", maintain_order=True)
    own = [name for name in _LINE if name in jobs.columns and name not in lines.columns]
    row = pl.lit(lines["place"]) - pl.col("place").min()
    lines = lines.with_columns(jobs.select(pl.col(own).gather(row)), undoes=pl.lit(None, pl.String))
    return _named(lines.select(_LINE), rules)


def _named(lines: pl.DataFrame, rules: SiteRules) -> pl.DataFrame:
    """The lines with site and reference, in the columns of PrintCharges."""
    lines = lines.with_columns(site=pl.lit(rules.name))
    return lines.with_columns(ref=references(lines, {rules.name: code_of(rules)})).select(
        tables.columns("print_charges").names()
    )


def _from_credits(jobs: pl.DataFrame, pool: pl.DataFrame, rules: SiteRules) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The credit lines by place, and for each job left_cents (`credits.Payment`) and whether it is `crowded`.

    Where no money may follow, a job that is covered in part uses no credits, whatever the site's policy. A crowded job
    would need more lines than there are references for, and uses none.
    """
    queue = jobs.lazy().filter(pl.col("rule").is_null())
    partial = rules.partial_credits == "use"
    queue = queue.select(
        "email_key", "printed_at", job_id="place", cost_cents="amount", in_part=pl.col("charged") & pl.lit(partial)
    ).collect()
    parts = _payments(queue, pool)
    lines = pl.concat([part.lines for part in parts]).rename({"job_id": "place", "used_cents": "amount_cents"})
    lines = lines.with_columns(email_key=jobs["email_key"].gather(lines["place"]))
    whose = pool.select("credit_id", "email_key", "team", credit_coworker_id="coworker_id").unique()
    lines = lines.join(whose, on=["credit_id", "email_key"], how="left", maintain_order="left")
    new, row = pl.col("place").ne_missing(pl.col("place").shift()), pl.int_range(pl.len(), dtype=pl.Int64)
    lines = lines.select(
        "place", "amount_cents", "credit_id", "credit_coworker_id", product_id=pl.lit(None, pl.Int64),
        kind=pl.lit("credit"), state=pl.lit("priced"),
        rule=pl.when("team").then(pl.lit("team_credits")).otherwise(pl.lit("credits")),
        reason=pl.lit(None, pl.String),
        seq=jobs["credits"].gather(lines["place"]) + row - pl.when(new).then(row).forward_fill(),
    )  # fmt: skip
    crowded = lines.filter(pl.col("seq") >= _MOST_LINES).select(pl.col("place").unique(), crowded=True)
    left = pl.concat([part.left for part in parts]).rename({"job_id": "place"}).join(crowded, on="place", how="left")
    return lines.join(crowded, on="place", how="anti", maintain_order="left"), left


def _payments(queue: pl.DataFrame, pool: pl.DataFrame) -> list[Payment]:
    """Who pays what: jobs of e-mails whose credits are nobody else's at once, all others one after the other.

    Others are those who share credits, and who have jobs of both kinds: such as may be covered in part, and such as may
    not.
    """
    in_part = pl.col("in_part")
    shared = pool.join(pool.filter("team"), on="credit_id", how="semi")["email_key"]
    mixed = queue.group_by("email_key").agg(in_part.n_unique() > 1).filter("in_part")["email_key"]
    together = pl.col("email_key").is_in(pl.concat([shared, mixed]).unique().implode())
    apart, pool_apart = queue.filter(~together), pool.filter(~together)
    return [
        payment(apart.filter(in_part), pool_apart, "use"),
        payment(apart.filter(~in_part), pool_apart, "ignore"),
        shared_payment(queue.filter(together), pool.filter(together)),
    ]
