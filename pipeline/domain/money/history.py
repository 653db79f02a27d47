"""What held when a job was printed: who had which access, who paid, and by which rules the site went.

What belongs here: the history as a value, its eras, and telling what of it is new. What does not: keeping it
(`pipeline.store.history`), and what follows for a job (`charges.py`, `payers.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any, NamedTuple

import polars as pl

from pipeline.domain.rules import Price, SiteRules

TIME = pl.Datetime("us", "UTC")

ACCESS = pl.Schema(
    {"email_key": pl.String, "held_from": TIME, "coworker_id": pl.Int64, "free": pl.Boolean, "pay": pl.Boolean}
)
"""One row per e-mail and change: the preferred customer, and whether it printed for free or paid, from a time on."""

SHARING = pl.Schema({"coworker_id": pl.Int64, "held_from": TIME, "payers": pl.String})
"""One row per customer and change: whose credits it may use beside its own, from a time on.

`payers` are customer ids, rising, joined by commas; empty: nobody's (`sharing.py`).
"""

KEPT = (
    "pricing_model", "partial_credits", "team_credits", "rounding", "charge_from", "credit_ids", "charge_product_id",
    "max_charge", "prices",
)  # fmt: skip
"""The choices of a site that decide a job as they were when it was printed; all others are those of now.

`max_credits` is one of now: it says which number in Nexudus is believed, and what is left of a credit is that of now.
"""

Rules = dict[str, Any]


class Past(NamedTuple):
    """What is known of former times.

    Attributes:
        access: `ACCESS`, in any order.
        rules: the choices of `KEPT` with the time from which they held, in order of time.
        sharing: `SHARING`, in any order.
    """

    access: pl.DataFrame
    rules: tuple[tuple[datetime, Rules], ...] = ()
    sharing: pl.DataFrame = pl.DataFrame(schema=SHARING)


NO_PAST = Past(pl.DataFrame(schema=ACCESS))


class Era(NamedTuple):
    """A time in which the same rules held: from `since`, until before `until`; None is without limit."""

    since: datetime | None
    until: datetime | None
    rules: SiteRules


def kept(rules: SiteRules) -> Rules:
    """The choices that are remembered, in a form that JSON can hold."""
    values: Rules = {name: getattr(rules, name) for name in KEPT}
    values |= {"charge_from": rules.charge_from.isoformat(), "credit_ids": list(rules.credit_ids)}
    prices = values.pop("prices")
    return values | {"prices": [asdict(price) for price in prices]} if prices else values


def eras(past: Past, rules: SiteRules) -> list[Era]:
    """The eras of a site, in order of time; the last one goes by the rules of now.

    What was printed before anything was remembered is decided by the first rules that were, but by the `charge_from`
    of now: no promise is known for that time.
    """
    if not past.rules:
        return [Era(None, None, rules)]
    times = [at for at, _ in past.rules]
    found = [
        Era(since, until, _with(rules, values))
        for (since, values), until in zip(past.rules, [*times[1:], None], strict=True)
    ]
    if past.rules[-1][1] == kept(rules):
        found[-1] = found[-1]._replace(rules=rules)
    else:  # changed, and no run has remembered it yet: it holds from now on, so for no job that is in the log
        found.append(Era(times[-1], times[-1], rules))
    before = Era(None, times[0], replace(found[0].rules, charge_from=rules.charge_from))
    return [before, *found]


def charged_times(past: Past, rules: SiteRules) -> pl.DataFrame:
    """The stretches of time in which jobs were charged, as `charged_since` says: since, until (UTC; null: open)."""
    found = [
        (max(era.since, era.rules.charge_from) if era.since else era.rules.charge_from, era.until)
        for era in eras(past, rules)
    ]
    return pl.DataFrame(found, schema={"since": TIME, "until": TIME}, orient="row")


def charged_since(past: Past, rules: SiteRules) -> pl.Expr:
    """Whether a job was printed at or after the `charge_from` that held then. Reads printed_at."""
    return as_it_was(past, rules, lambda then: pl.col("printed_at") >= then.charge_from)


def as_it_was(past: Past, rules: SiteRules, value: Callable[[SiteRules], pl.Expr]) -> pl.Expr:
    """A value by the rules that held when a job was printed. Reads printed_at."""
    at, always = pl.col("printed_at"), pl.lit(value=True)
    answer = value(rules)
    for era in reversed(eras(past, rules)):
        inside = (at >= era.since if era.since else always) & (at < era.until if era.until else always)
        answer = pl.when(inside).then(value(era.rules)).otherwise(answer)
    return answer


def access_news(
    accounts: pl.DataFrame, customers: pl.DataFrame, known: pl.DataFrame, last_look: datetime | None, now: datetime
) -> pl.DataFrame:
    """The changes of access since the last look.

    Args:
        accounts: PrintAccounts of the site.
        customers: NexudusCustomers.
        known: `ACCESS`, all of it.
        last_look: when access was looked at last; None if never.
        now: the time of this look, UTC.

    Returns:
        `ACCESS`: a row for each e-mail whose customer, free or pay differs from the last one known. It holds from the
        last change of the Nexudus record, if that lies between the two looks, else from this look on.
    """
    latest = known.sort("held_from").unique("email_key", keep="last", maintain_order=True)
    values = ("coworker_id", "free", "pay")
    changed_at = pl.col("updated_on")
    told = (changed_at <= now) & (changed_at > (last_look or now))
    return (
        accounts.select("email_key", *values)
        .join(latest.select("email_key", *values), on=["email_key", *values], how="anti")
        .join(customers.select("coworker_id", "updated_on"), on="coworker_id", how="left")
        .with_columns(held_from=pl.when(told).then(changed_at).otherwise(pl.lit(now, TIME)).cast(TIME))
        .select(ACCESS.names())
        .sort("email_key")
    )


def _with(rules: SiteRules, values: Rules) -> SiteRules:
    """The rules of now with remembered choices in place of theirs; what an older program did not remember stays."""
    chosen = {name: value for name, value in values.items() if name in KEPT}
    if "charge_from" in chosen:
        chosen["charge_from"] = datetime.fromisoformat(chosen["charge_from"])
    if "credit_ids" in chosen:
        chosen["credit_ids"] = tuple(chosen["credit_ids"])
    if "prices" in chosen:
        chosen["prices"] = tuple(Price(**price) for price in chosen["prices"])
    return replace(rules, **chosen)
