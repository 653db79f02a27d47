"""Printing credits: what is left, and which of them pay for which job.

What belongs here: validity and allocation of credits (`rules.md` U6 and 7.2). What does not: whose credits an e-mail
may use (`payers.py`), whether a job is to be paid at all and what happens when credits fall short (`charges.py`).

Everything is whole cents (1 credit = 1 cent, `rules.md` S12).
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NamedTuple

import polars as pl

from pipeline.domain.rules import SiteRules
from pipeline.domain.tables import columns

Policy = Literal["ignore", "use"]
"""For a job that the credits cover only in part: leave them alone, or use what is left (`rules.md` 7.2)."""

_TIME = columns("nexudus_credits")["valid_from"]


class Payment(NamedTuple):
    """Which credits pay for which jobs."""

    lines: pl.DataFrame
    """job_id, credit_id, used_cents; jobs in order, the lines of a job in the order of use."""
    left: pl.DataFrame
    """job_id, left_cents: the credits valid for the job that were left when its turn came; every job once."""


def oversized_grants(grants: pl.DataFrame, rules: SiteRules) -> pl.DataFrame:
    """The site's grants above `max_credits`: they are not counted until a person raises the limit (design 3).

    Args:
        grants: NexudusCredits.
        rules: the site's choices.

    Returns:
        The rows of NexudusCredits at fault, by credit_id.
    """
    return grants.filter(_of_site(rules) & _oversized(rules)).sort("credit_id")


def usable(grants: pl.DataFrame, uses: pl.DataFrame, rules: SiteRules) -> pl.DataFrame:
    """What is left of the site's grants, valid or not; nothing in a model without credits.

    Args:
        grants: NexudusCredits.
        uses: credit_id, open_cents: use in our ledger that the extract does not contain; negative gives back.
        rules: the site's choices.

    Returns:
        credit_id, coworker_id, remaining_cents (above 0), valid_from, expires_at.
    """
    return _left(grants.filter(_of_site(rules) & ~_oversized(rules)), uses)


def too_large(grants: pl.DataFrame, uses: pl.DataFrame, rules: SiteRules) -> pl.DataFrame:
    """What is left of the grants above `max_credits`, which pay for nothing until a person decides; as `usable`."""
    return _left(grants.filter(_of_site(rules) & _oversized(rules)), uses)


def _left(grants: pl.DataFrame, uses: pl.DataFrame) -> pl.DataFrame:
    open_uses = uses.group_by("credit_id").agg(pl.col("open_cents").sum())
    return (
        grants.join(open_uses, on="credit_id", how="left")
        .select(
            "credit_id",
            "coworker_id",
            pl.col("remaining_uses").sub(pl.col("open_cents").fill_null(0)).alias("remaining_cents"),
            "valid_from",
            "expires_at",
        )
        .filter(pl.col("remaining_cents") > 0)
    )


def valid(grants: pl.DataFrame, uses: pl.DataFrame, rules: SiteRules, at: datetime) -> pl.DataFrame:
    """What is left of the site's grants that are valid at a time (aware UTC); columns as `usable`."""
    return usable(grants, uses, rules).filter(valid_at(pl.lit(at, _TIME)))


def valid_at(moment: pl.Expr) -> pl.Expr:
    """Whether a grant can pay at a moment: from valid_from on, until before expires_at; null is no limit."""
    return pl.col("valid_from").le(moment).fill_null(value=True) & pl.col("expires_at").gt(moment).fill_null(value=True)


def payment(jobs: pl.DataFrame, grants: pl.DataFrame, policy: Policy) -> Payment:
    """Pay jobs from the credits of their e-mail.

    Per e-mail the jobs take their turn by (printed_at, job_id). A job is paid from the grants that are valid when it
    was printed, the earliest expiry first (no expiry last), then the lowest credit_id. A job that costs more than what
    is left gets nothing (`ignore`; a later, cheaper job may still be paid) or all that is left (`use`).

    Args:
        jobs: job_id (unique; any type with an order), email_key, printed_at, cost_cents.
        grants: credit_id (unique), email_key, remaining_cents, valid_from, expires_at.
        policy: what to do with a job that is covered only in part.
    """
    people = grants.select(pl.col("email_key").unique().sort()).with_row_index("person")
    stock = grants.join(people, on="email_key")
    queue = jobs.join(people, on="email_key", how="left").select("job_id", "person", "printed_at", "cost_cents")
    poor = queue.filter(pl.col("person").is_null()).select("job_id", left_cents=pl.lit(0, pl.Int64))
    queue = (
        queue.filter(pl.col("person").is_not_null()).sort("printed_at", "job_id").sort("person", maintain_order=True)
    )
    queue = _epochs(queue, stock)
    lines, left = [_no_lines(jobs)], [poor]
    # Within an epoch nothing becomes valid or expires; the first epoch of every person is paid at once, and so on.
    for turn in queue.sort("epoch", maintain_order=True).partition_by("epoch", maintain_order=True):
        since = turn.group_by("person").agg(pl.col("printed_at").first())
        pool = stock.join(since, on="person").filter(pl.col("remaining_cents") > 0, valid_at(pl.col("printed_at")))
        totals = pool.group_by("person").agg(total=pl.col("remaining_cents").sum())
        batch = turn.join(totals, on="person", how="left", maintain_order="left").with_columns(
            pl.col("total").fill_null(0)
        )
        paid = _use(batch) if policy == "use" else _ignore(batch)
        used = _split(paid.filter(pl.col("used_cents") > 0), pool)
        lines.append(used.select(lines[0].columns))
        left.append(paid.select("job_id", left_cents=pl.col("total") - pl.col("end") + pl.col("used_cents")))
        spent = used.group_by("credit_id").agg(pl.col("used_cents").sum())
        stock = (
            stock.join(spent, on="credit_id", how="left")
            .with_columns(pl.col("remaining_cents") - pl.col("used_cents").fill_null(0))
            .drop("used_cents")
        )
    return Payment(pl.concat(lines).sort("place", maintain_order=True).drop("place"), pl.concat(left))


def shared_payment(jobs: pl.DataFrame, grants: pl.DataFrame) -> Payment:
    """Pay jobs from the credits of their e-mail and then from those of its teams, each credit used once by whom ever.

    All jobs take their turn by (printed_at, job_id), whosever they are. A job is paid from the credits that are valid
    when it was printed and, where another's, shared then: the own ones first, and within own and team in the order of
    `payment`. Whether a job may be covered in part is said for each.

    Args:
        jobs: as for `payment`, and in_part.
        grants: as for `payment`, but one credit may be there for several e-mails and times; and team, shared_from,
            shared_until (`payers.pooled`).
    """
    order = ("email_key", "team", "expires_at", "credit_id")
    offers: dict[str, list[_Offer]] = {}
    left: dict[int, int] = {}
    for row in grants.sort(order, nulls_last=True).select("email_key", "remaining_cents", *_Offer._fields).iter_rows():
        offer = _Offer(*row[2:])
        offers.setdefault(row[0], []).append(offer)
        left[offer.credit_id] = row[1]
    lines: list[tuple[object, int, int]] = []
    found: list[tuple[object, int]] = []
    queue = jobs.sort("printed_at", "job_id").select("job_id", "email_key", "printed_at", "cost_cents", "in_part")
    for job_id, email_key, printed_at, cost, in_part in queue.iter_rows():
        able = dict.fromkeys(each.credit_id for each in offers.get(email_key, ()) if each.pays(printed_at))
        there = sum(left[credit_id] for credit_id in able)
        found.append((job_id, there))
        due = cost if in_part or there >= cost else 0
        for credit_id in able:
            used = min(due, left[credit_id])
            if used > 0:
                lines.append((job_id, credit_id, used))
                left[credit_id] -= used
                due -= used
    kind = jobs.schema["job_id"]
    return Payment(
        pl.DataFrame(lines, {"job_id": kind, "credit_id": pl.Int64, "used_cents": pl.Int64}, orient="row"),
        pl.DataFrame(found, {"job_id": kind, "left_cents": pl.Int64}, orient="row"),
    )


class _Offer(NamedTuple):
    """A credit that an e-mail may use, and when."""

    credit_id: int
    valid_from: datetime | None
    expires_at: datetime | None
    shared_from: datetime | None
    shared_until: datetime | None

    def pays(self, moment: datetime) -> bool:
        """As `valid_at`, and shared then."""
        begun = all(since is None or since <= moment for since in (self.valid_from, self.shared_from))
        return begun and all(until is None or moment < until for until in (self.expires_at, self.shared_until))


def _no_lines(jobs: pl.DataFrame) -> pl.DataFrame:
    cents = {"credit_id": pl.Int64, "used_cents": pl.Int64, "place": pl.UInt32}
    return pl.DataFrame(schema={"job_id": jobs.schema["job_id"], **cents})


def _of_site(rules: SiteRules) -> pl.Expr:
    return pl.col("extra_service_id").is_in(rules.credit_ids if rules.takes_credits else ())


def _oversized(rules: SiteRules) -> pl.Expr:
    return pl.max_horizontal("total_uses", "remaining_uses") > rules.max_credits


def _epochs(queue: pl.DataFrame, stock: pl.DataFrame) -> pl.DataFrame:
    """Number the jobs (place) and, per person, the stretches of jobs between changes of validity (epoch)."""
    changes = (
        pl.concat([stock.select("person", at=name) for name in ("valid_from", "expires_at")])
        .drop_nulls()
        .unique()
        .sort("person", "at")
        .with_row_index("change")
    )
    return (
        queue.with_row_index("place")
        .join_asof(changes, left_on="printed_at", right_on="at", by="person", check_sortedness=False)
        .with_columns(epoch=pl.col("change").ne_missing(pl.col("change").shift()).cum_sum().over("person"))
    )


def _use(batch: pl.DataFrame) -> pl.DataFrame:
    """Pay as much of each job as there is; `end` is the person's use in total after the job."""
    reach = pl.col("cost_cents").cum_sum().over("person")
    return batch.with_columns(end=pl.min_horizontal(reach, "total")).with_columns(
        used_cents=pl.col("end") - pl.min_horizontal(reach - pl.col("cost_cents"), "total")
    )


def _ignore(batch: pl.DataFrame) -> pl.DataFrame:
    """Pay each job whole or not at all; `end` is the person's use in total after the job."""
    waiting = batch.select("place", "person", "cost_cents", left="total")
    fitting = [waiting.select("place").clear()]
    # Each round pays the longest run of jobs that fits; the next job in line, and all that cost more than what is then
    # left, can never be paid and go.
    while (waiting := waiting.filter(pl.col("cost_cents") <= pl.col("left"))).height:
        reach = pl.col("cost_cents").cum_sum().over("person")
        waiting = waiting.with_columns(taken=pl.when(reach <= pl.col("left")).then(reach))
        fitting.append(waiting.filter(pl.col("taken").is_not_null()).select("place"))
        waiting = waiting.with_columns(left=pl.col("left") - pl.col("taken").max().over("person")).filter(
            pl.col("taken").is_null()
        )
    paid = pl.col("place").is_in(pl.concat(fitting)["place"].implode())
    return batch.with_columns(used_cents=pl.when(paid).then("cost_cents").otherwise(0)).with_columns(
        end=pl.col("used_cents").cum_sum().over("person")
    )


def _split(paid: pl.DataFrame, pool: pl.DataFrame) -> pl.DataFrame:
    """Lay the paid jobs end to end over the grants, person after person in the order of use; each piece is a line."""
    jobs = paid.select("person", "job_id", "place", used="end", end=pl.col("used_cents").cum_sum())
    ranges = jobs.group_by("person").agg(base=(pl.col("end") - pl.col("used")).first(), used=pl.col("used").max())
    reach = pl.col("remaining_cents").cum_sum().over("person")
    grants = (
        pool.join(ranges, on="person")
        .sort("person", "expires_at", "credit_id", nulls_last=True)
        .select("credit_id", end=pl.col("base") + pl.min_horizontal(reach, "used"))
    )
    end = pl.col("end")
    return (
        pl.concat([jobs.select("end"), grants.select("end")])
        .sort("end")
        .filter(end.ne_missing(end.shift()))
        .join_asof(jobs.drop("person", "used"), on="end", strategy="forward", check_sortedness=False)
        .join_asof(grants, on="end", strategy="forward", check_sortedness=False)
        .with_columns(used_cents=end - end.shift().fill_null(0))
    )
