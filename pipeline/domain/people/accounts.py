"""Who gets a print user, per site: one row per e-mail, with the reason for everyone who is left out.

What belongs here: the preferred account, access, pooled credits, clashes (design 3, `rules.md` 3 to 5). What does not:
what would change in the print system (`plan.py`), and what a job costs whom (`pipeline.domain.money`).
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from pipeline.domain import names
from pipeline.domain.money.credits import valid
from pipeline.domain.money.sharing import shared
from pipeline.domain.rules import SiteRules
from pipeline.domain.tables import columns, empty

_CARDS = {"access_card": "access_card_digest", "key_fob": "key_fob_digest", "pin": "pin_digest"}
_OLDEST_FIRST = ("registered_at", "coworker_id")


def print_accounts(
    customers: pl.DataFrame,
    grants: pl.DataFrame,
    uses: pl.DataFrame,
    rules: SiteRules,
    now: datetime,
    *,
    ended: pl.DataFrame | None = None,
    teams: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Decide for every e-mail of the Nexudus account whether it becomes a print user of the site.

    Flags, PIN, card and home location are those of the preferred account (U5, U8); credits pool over all active
    accounts of the e-mail (U6), and with them what the customers who pay for their teams share (docs/adr/0014). An
    unarchived account without e-mail has a row of its own, so that it is reported.

    Args:
        customers: NexudusCustomers, of all locations.
        grants: NexudusCredits, of all customers.
        uses: credit_id, open_cents: credit use in our ledger that the extract does not contain yet.
        rules: the site's choices.
        now: the time at which credits must be valid, aware UTC.
        ended: coworker_id, flag: for whom a person ended which default for new customers.
        teams: NexudusTeams; none without it.

    Returns:
        PrintAccounts, by email_key.
    """
    teams = empty("nexudus_teams") if teams is None or not rules.shares_credits else teams
    reach = _reach(customers, shared(teams, customers))
    return (
        _preferred(_flagged(customers, rules))
        .join(_pools(reach, grants, uses, rules, now), on="email_key", how="left")
        .with_columns(
            pl.lit(rules.name).alias("site"),
            pl.col("free").or_(by_default("free", rules, ended)),
            pl.col("pay").or_(by_default("pay", rules, ended)).and_(rules.takes_money),
            pl.col("credits", "shared_credits").fill_null(0),
            pl.when(_has_address()).then(names.username(rules.username)).alias("username"),
            _card(rules).alias("card_digest"),
        )
        # Without balances nobody stops at 0: there, restricted is who may not print at all (`ownership.restrictions`).
        .with_columns(access=_access(), restricted=~(pl.col("free") | pl.col("pay")) & pl.lit("balance" in rules.holds))
        .with_columns(reason=_reason(rules))
        .pipe(lambda frame: _without_clash(frame, "pin_digest", "pin_clash") if "pin" in rules.holds else frame)
        .pipe(_without_clash, "username", "name_clash")
        .select(columns("print_accounts").names())
        .sort("email_key")
    )


_EZEEP = {"ezeep_blue": ("ezeep_blue", "ezeep_blue_free"), "ezeep": ("ezeep", "ezeep_free")}
"""For each pair of ezeep's flags the columns: may print, and prints for free."""


def _flagged(customers: pl.DataFrame, rules: SiteRules) -> pl.DataFrame:
    """The customers with the flags that the site goes by: `may_print` (null: not told), free, pay.

    Whoever may print with ezeep is charged money where the model takes money; there is no flag of its own for it
    (`rules.md` Z7).
    """
    if rules.flags == "papercut":
        return customers.with_columns(may_print=pl.lit(value=True))
    flag, free = (pl.col(name) for name in _EZEEP[rules.flags])
    may_print = pl.when(~flag | free.is_not_null()).then(flag)
    return customers.with_columns(
        may_print=may_print,
        free=(may_print & free).fill_null(value=False),
        pay=may_print.fill_null(value=False),
    )


def _preferred(customers: pl.DataFrame) -> pl.DataFrame:
    """The preferred account of each e-mail (P1 to P8), or the one nearest to it.

    Archived accounts stand behind all others. Individuals stand before companies even when suspended: a company stands
    in only where there is no individual (P6). Among the rest the active ones, then the oldest, then the lowest id.
    """
    return (
        customers.filter(pl.col("email_key").is_not_null() | ~pl.col("archived"))
        .sort(
            pl.col("archived"),
            pl.col("kind") != "individual",
            ~pl.col("active"),
            *_OLDEST_FIRST,
            nulls_last=True,
        )
        .with_columns(email_key=names.account_key())
        .unique("email_key", keep="first", maintain_order=True)
    )


def _reach(customers: pl.DataFrame, sharing: pl.DataFrame) -> pl.DataFrame:
    """Whose credits each e-mail may use: coworker_id, email_key, active; team where it is another's, each once."""
    own = customers.filter(~pl.col("archived")).select("coworker_id", "active", email_key=names.account_key())
    others = own.filter("active").join(sharing, on="coworker_id").select("active", "email_key", coworker_id="payer_id")
    both = pl.concat([own.with_columns(team=False), others.select(own.columns).with_columns(team=True)])
    # An account of the e-mail that pays for a team of another one is own; it counts only if it is active itself.
    return both.sort("team").unique(["coworker_id", "email_key"], keep="first", maintain_order=True)


def _pools(
    reach: pl.DataFrame, grants: pl.DataFrame, uses: pl.DataFrame, rules: SiteRules, now: datetime
) -> pl.DataFrame:
    """Per e-mail the valid credits within its reach, and whether any of the site's grants is or was within it."""
    held = reach.join(grants.filter(pl.col("extra_service_id").is_in(rules.credit_ids)), on="coworker_id", how="semi")
    paying = reach.filter("active").join(valid(grants, uses, rules, now), on="coworker_id")
    return (
        pl.concat(
            [
                held.select("email_key", "team", credits=pl.lit(0, pl.Int64)),
                paying.select("email_key", "team", credits="remaining_cents"),
            ],
        )
        .group_by("email_key")
        .agg(
            pl.col("credits").sum(),
            shared_credits=pl.col("credits").filter("team").sum(),
            had_credits=pl.lit(value=True),
        )
    )


def by_default(flag: str, rules: SiteRules, ended: pl.DataFrame | None = None) -> pl.Expr:
    """Whether a customer counts at a site as if a flag (`pay` or `free`) were set, because it is the default.

    Args:
        flag: the flag.
        rules: the site's choices.
        ended: as for `print_accounts`.
    """
    applies = _free_by_default(rules) if flag == "free" else _pay_by_default(rules)
    if ended is None:
        return applies
    return applies & ~pl.col("coworker_id").is_in(ended.filter(flag=flag)["coworker_id"].to_list())


def _free_by_default(rules: SiteRules) -> pl.Expr:
    """Settings 4 and 5 of the Bridge: new contacts and members print for free, in Free Unlimited only."""
    if rules.pricing_model != "free_unlimited":
        return pl.lit(value=False)
    return _new_since(rules.members_free_from, rules.contacts_free_from)


def _pay_by_default(rules: SiteRules) -> pl.Expr:
    """Settings 6 and 7 of the Bridge: new members and contacts are unrestricted, in the pay models only."""
    if not rules.takes_money:
        return pl.lit(value=False)
    return _new_since(rules.members_pay_from, rules.contacts_pay_from)


def _new_since(members_from: datetime | None, contacts_from: datetime | None) -> pl.Expr:
    """Whether the customer registered after the default was enabled for its kind (U13)."""
    time = columns("nexudus_customers")["registered_at"]
    since = pl.when("member").then(pl.lit(members_from, time)).otherwise(pl.lit(contacts_from, time))
    return (pl.col("registered_at") > since).fill_null(value=False)


def _has_address() -> pl.Expr:
    """Whether there is an e-mail that can become a user name."""
    return (_no_email() | _plus_alias() | names.bad_email()).not_()


def _no_email() -> pl.Expr:
    return names.email_key("email").is_null()


def _plus_alias() -> pl.Expr:
    return pl.col("email_key").str.contains("+", literal=True)


def _access() -> pl.Expr:
    """The way in: free before pay before credits; pay and credits are already empty where the model has none."""
    may_print = pl.col("may_print").fill_null(value=False)
    ways = (("free", pl.col("free")), ("pay", pl.col("pay")), ("credits", (pl.col("credits") > 0) & may_print))
    return pl.coalesce(*(pl.when(there).then(pl.lit(way)) for way, there in ways), pl.lit("none"))


def _card(rules: SiteRules) -> pl.Expr:
    return pl.lit(None, pl.String) if rules.card_number == "none" else pl.col(_CARDS[rules.card_number])


def _reason(rules: SiteRules) -> pl.Expr:
    """Why there is no print user: the first that applies.

    What the operator did on purpose stands first (the customer left, or may not print), so that `no_pin` and the
    clashes name only people who would print if that were put right.
    """
    no_way_in = pl.col("access") == "none"
    reasons = {
        "archived": pl.col("archived"),
        "suspended": ~pl.col("active"),
        "no_email": _no_email(),
        "plus_alias": _plus_alias(),
        "bad_email": names.bad_email(),
        "other_location": pl.col("business_id").ne_missing(rules.business_id).and_(rules.customers == "home"),
        "no_flag": pl.col("may_print").is_null(),
        "printing_off": ~pl.col("may_print"),
        "no_credit": no_way_in & pl.col("had_credits").fill_null(value=False) & pl.lit(rules.takes_credits),
        "no_access": no_way_in,
        "no_pin": pl.col("pin_digest").is_null() & pl.lit("pin" in rules.holds),
    }
    return pl.coalesce(*(pl.when(applies).then(pl.lit(reason)) for reason, applies in reasons.items()))


def _without_clash(frame: pl.DataFrame, column: str, reason: str) -> pl.DataFrame:
    """Leave out all but the oldest of the coming print users that share a value (U19)."""
    coming = pl.col("reason").is_null()
    return frame.sort(_OLDEST_FIRST, nulls_last=True).with_columns(
        reason=pl.when(coming & (coming.cum_sum().over(column) > 1)).then(pl.lit(reason)).otherwise("reason")
    )
