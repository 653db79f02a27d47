"""Differences: the rows of a plan for people who are wanted, from one frame of accounts beside observed users.

What belongs here: what of a PaperCut user differs from its account, and the create, rename, update, adjust and hold
rows that follow. What does not: whose user it is and who leaves (`ownership.py`), and whether that many rows are safe
(`plan.py`).

Columns: those of PrintAccounts plus target and unsettled; `now_*` is PrintUsers, `our_*` the ownership row.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from pipeline.domain.names import MIN_PASSWORD
from pipeline.domain.rules import EVERYTHING, SiteRules
from pipeline.domain.tables import columns

EXACT = columns("print_users")["balance"]

GROUPS = (
    ("access", "restricted", "disabled"), ("pin", "password"), ("card",), ("mark", "customer", "full_name", "email"),
)  # fmt: skip
"""The fields of an update that are sent together, each group in a row and a call of its own: what lets somebody print,
or keeps them from it, never waits for a name that PaperCut refuses, or for a cap on e-mail changes."""

NEEDS = {"password": "pin"}
"""A field that is written with what a print system holds under another name."""

ACCESS = tuple(field for group in GROUPS[:-1] for field in group)
"""The fields that decide who may print and how; the last group is decoration, and our mark."""

_CREATED = ("mark", "full_name", "email", "restricted", "pin")
"""The fields that every new user gets, where its print system holds them."""


def with_target(accounts: pl.DataFrame, rules: SiteRules) -> pl.DataFrame:
    """The balance equation (design 4): credits less the cost of jobs that are not yet settled; free users: none."""
    pooled = pl.col("credits") if rules.takes_credits else pl.lit(0, pl.Int64)
    unsettled = pl.col("unsettled").fill_null(0).cast(EXACT)
    return accounts.with_columns(
        credits=pooled,
        unsettled=unsettled,
        target=balanced(pl.when(pl.col("access") != "free").then((pooled.cast(EXACT) - unsettled).cast(EXACT)), rules),
    )


def balanced(target: pl.Expr, rules: SiteRules) -> pl.Expr:
    """The balance that is wanted; none where the print system holds no balances."""
    return target if "balance" in rules.holds else pl.lit(None, EXACT)


def _held(fields: Iterable[str], rules: SiteRules) -> list[str]:
    """Of some fields, those that the print system holds."""
    lacking = EVERYTHING - rules.holds
    return [field for field in fields if NEEDS.get(field, field) not in lacking]


def _differences(rules: SiteRules) -> dict[str, pl.Expr]:
    """What of a user differs from its account, by field."""
    card, our_card = pl.col("now_card_digest"), pl.col("our_card_digest")
    pin = pl.col("our_pin_digest").ne_missing(pl.col("pin_digest"))
    return {
        "mark": (pl.col("our_state") == "creating") | ~pl.col("now_marked"),
        "customer": pl.col("our_coworker_id").ne_missing(pl.col("coworker_id"))
        | (pl.col("now_marked_coworker_id") != pl.col("coworker_id")).fill_null(value=False),
        "full_name": pl.col("now_full_name").ne_missing(pl.col("full_name")),
        "email": pl.col("now_email").ne_missing(pl.col("email"))
        | pl.col("our_email_key").ne_missing(pl.col("email_key")),
        "access": pl.col("our_access").ne_missing(pl.col("access")),
        "restricted": pl.col("now_restricted") != pl.col("restricted"),
        # Only a site that disables its leavers may enable: elsewhere a person has disabled the user.
        "disabled": pl.col("now_disabled") & (rules.removal == "disable"),
        "pin": pin,
        # A PIN brings its password; what was written before its length was kept is as short as a site allows.
        "password": ~pin & (pl.col("our_password_length").fill_null(MIN_PASSWORD) < pl.col("password_length")),
        # Never over a card that someone set in PaperCut (`papercut-api.md` 6.3).
        "card": (card.is_null() | (card == our_card))
        & card.ne_missing(pl.col("card_digest"))
        & (rules.card_number != "none"),
    }


def _changes(rules: SiteRules, group: tuple[str, ...]) -> pl.Expr:
    """The fields of a group that differ, comma separated; empty where none does."""
    differs = _differences(rules)
    fields = [pl.when(differs[field]).then(pl.lit(field)) for field in _held(group, rules)]
    return pl.concat_str(fields, separator=",", ignore_nulls=True)


def _changed(users: pl.DataFrame, rules: SiteRules, groups: tuple[tuple[str, ...], ...]) -> pl.DataFrame:
    """An update row for each user and group of fields that differ."""
    held = [group for group in groups if _held(group, rules)]
    rows = [users.with_columns(changes=_changes(rules, group)).filter(pl.col("changes") != "") for group in held]
    return pl.concat(rows).with_columns(
        action=pl.lit("update"), reason=pl.format(f"{rules.title} and the account differ in {{}}", "changes")
    )


def _jumps(rules: SiteRules) -> pl.Expr:
    """Whether the balance would rise by more than the site allows at once; a new user starts from 0."""
    return pl.col("target") - pl.col("now_balance").fill_null(0) > rules.max_credits


def _fell() -> pl.Expr:
    """Whether a balance would rise that fell without a job (`balances.fallen`)."""
    return (pl.col("target") > pl.col("now_balance")) & pl.col("fallen").is_not_null()


def _fell_reason(rules: SiteRules) -> pl.Expr:
    lower = pl.format(
        "the balance is {}, {} lower than the jobs of the log and our own changes explain",
        plain(pl.col("now_balance")),
        plain(pl.col("fallen")),
    )
    return (
        pl.when("told")
        .then(
            pl.format(
                "{}, since {}: it is not raised to {}. See in PaperCut who lowered it, or what kept our last change"
                f" from it; `printbridge resume {rules.name} balances` raises it",
                lower,
                pl.col("fell_at").dt.to_string("%Y-%m-%d %H:%M UTC"),
                plain(pl.col("target")),
            )
        )
        .otherwise(
            pl.format("{}: a job may not be in the log yet, so it is not raised to {}", lower, plain(pl.col("target")))
        )
    )


def _jump_reason(rules: SiteRules) -> pl.Expr:
    return pl.format(
        "the balance would rise from {} to {}, by more than max_credits ({}): check the credits in Nexudus, or raise "
        "max_credits in bridge.toml",
        plain(pl.col("now_balance").fill_null(0)),
        plain(pl.col("target")),
        pl.lit(rules.max_credits),
    )


def renames(wanted: pl.DataFrame, seen: pl.DataFrame, unsettled: pl.DataFrame, rules: SiteRules) -> pl.DataFrame:
    """Users of ours whose customer has another user name now; balance and history stay with the user."""
    movable = (
        seen.filter("ours")
        .join(wanted, on="username", how="anti")
        .sort("our_owned_from", "username")
        .unique("our_coworker_id", keep="first", maintain_order=True)
        .rename({"username": "old_username"})
    )
    holders = wanted.select(our_email_key="email_key", holder="username")
    moving = (
        wanted.join(seen, on="username", how="anti")
        .rename({"username": "new_username"})
        .join(movable, left_on="coworker_id", right_on="our_coworker_id")
        .with_columns(our_coworker_id="coworker_id")
        .join(holders, on="our_email_key", how="left")
        .filter(pl.col("holder").fill_null(pl.col("new_username")) == pl.col("new_username"))
        .rename({"old_username": "username"})
        # The jobs that are not settled were printed under the old name.
        .join(unsettled.rename({"unsettled": "old_unsettled"}), on="username", how="left")
        .with_columns(pl.col("unsettled") + pl.col("old_unsettled").fill_null(0))
    )
    return (
        with_target(moving, rules)
        .with_columns(target=pl.when(~_jumps(rules) & ~_fell()).then("target"), fields=_changes(rules, GROUPS[-1]))
        .with_columns(
            action=pl.lit("rename"),
            changes=pl.concat_str(
                pl.lit("username"),
                pl.when(pl.col("fields") != "").then("fields"),
                pl.when(pl.col("target") != pl.col("now_balance")).then(pl.lit("balance")),
                separator=",",
                ignore_nulls=True,
            ),
            reason=pl.format(
                "the user of customer {} should have another name: its e-mail or user name changed in Nexudus, or"
                " somebody renamed the user",
                "coworker_id",
            ),
        )
    )


def ahead(renamed: pl.DataFrame, rules: SiteRules) -> pl.DataFrame:
    """What decides who may print is set under the old name, before a rename that may be refused or over a cap."""
    return _changed(renamed, rules, GROUPS[:-1]).with_columns(new_username=pl.lit(None, pl.String))


def _double_reason() -> pl.Expr:
    return pl.format(
        "user {} has our mark for customer {} and is on no record here, so no second user is made: rename it to {},"
        " where `printbridge adopt` takes it if it is not ours by itself; or take the mark out of its notes",
        *("double", "coworker_id", "username"),
    )


def _by_hand_reason(rules: SiteRules) -> pl.Expr:
    return pl.format(
        f"the customer may print (access: {{}}) and is not in {rules.title}: a person invites them, `printbridge access"
        f" sync --site {rules.name}`",
        "access",
    )


def creates(
    new: pl.DataFrame, owned: pl.DataFrame, rules: SiteRules, *, users: int, freed: int, invited: pl.DataFrame
) -> pl.DataFrame:
    """Users to create: as many as the licence has seats for, oldest registration first (design 3).

    Nobody gets a second user beside one that a person renamed (`ownership.with_double`). Where customers are invited by
    hand (`rules.md` Z3), only those whom a person asked for.
    """
    seats = max(0, rules.licence_users - users + freed)
    place = pl.when(pl.col("action") == "create").then(1).cum_sum()
    no_seat = (pl.col("action") == "create") & (place > seats) if rules.licence_users else pl.lit(value=False)
    double = pl.col("double").is_not_null()
    waits = ~pl.col("coworker_id").is_in(invited["coworker_id"].implode()) & pl.lit(rules.invite == "by_hand")
    again = pl.col("username").is_in(owned.filter(state="owned")["username"].implode())
    return (
        new.with_columns(now_balance=pl.lit(None, EXACT))
        .sort("registered_at", "coworker_id", nulls_last=True)
        .with_columns(
            action=pl.when(double | _jumps(rules) | waits).then(pl.lit("hold")).otherwise(pl.lit("create")),
            code=pl.when(double)
            .then(pl.lit("lost"))
            .when(_jumps(rules))
            .then(pl.lit("above_max_credits"))
            .when(waits)
            .then(pl.lit("by_hand")),
            changes=pl.concat_str(
                pl.lit(",".join(_held(_CREATED, rules))),
                *(pl.when(pl.col("card_digest").is_not_null()).then(pl.lit(card)) for card in _held(["card"], rules)),
                pl.when(pl.col("target").is_not_null()).then(pl.lit("balance")),
                separator=",",
                ignore_nulls=True,
            ),
            reason=pl.when(double)
            .then(_double_reason())
            .when(_jumps(rules))
            .then(_jump_reason(rules))
            .when(waits)
            .then(_by_hand_reason(rules))
            .when(again)
            .then(pl.lit(f"the user is ours but is missing in {rules.title}: created again"))
            .otherwise(pl.format(f"the customer may print (access: {{}}) and is not in {rules.title}", "access")),
        )
        .with_columns(
            action=pl.when(no_seat).then(pl.lit("hold")).otherwise("action"),
            code=pl.when(no_seat).then(pl.lit("no_seat")).otherwise("code"),
            reason=pl.when(no_seat)
            .then(
                pl.format(
                    f"no licence seat: licence_users is {rules.licence_users}, PaperCut has {users} users, this plan "
                    f"frees {freed}, so {seats} can be created and this is number {{}} by registration",
                    place,
                )
            )
            .otherwise("reason"),
        )
        .with_columns(changes=pl.when(pl.col("action") == "create").then("changes").otherwise(pl.lit("")))
    )


def foreign(kept: pl.DataFrame, rules: SiteRules) -> pl.DataFrame:
    """Wanted user names that exist already but are not provably ours: nothing is changed."""
    known = pl.col("our_state") == "owned"
    return kept.filter(~pl.col("ours")).with_columns(
        action=pl.lit("hold"),
        changes=pl.lit(""),
        code=pl.when(known).then(pl.lit("lost")).otherwise(pl.lit("foreign")),
        reason=pl.when(known)
        .then(pl.format("the user was ours, but {}; nothing is changed until then: {}", "refusal", "remedy"))
        .otherwise(
            pl.format(
                f"the user exists in {rules.title} but is not managed here: {{}}; nothing is changed,"
                " `printbridge adopt` takes it over",
                "refusal",
            )
        ),
    )


def updates(kept: pl.DataFrame, rules: SiteRules) -> pl.DataFrame:
    """Users of ours that differ from their account, and those that a person has disabled in PaperCut."""
    ours = kept.filter("ours")
    by_person = pl.lit(rules.removal == "delete" and "disabled" in rules.holds)
    disabled = ours.filter(pl.col("now_disabled") & by_person).with_columns(
        action=pl.lit("hold"),
        changes=pl.lit(""),
        code=pl.lit("disabled"),
        reason=pl.lit("the user was disabled in PaperCut by a person: enable it there if the customer is to print"),
    )
    return pl.concat([_changed(ours, rules, GROUPS), disabled], how="diagonal")


def adjusts(kept: pl.DataFrame, rules: SiteRules) -> pl.DataFrame:
    """Users of ours whose balance is not the target.

    Held is a rise above `max_credits`, and one of a balance that fell without a job.
    """
    jump, fell = _jumps(rules), _fell()
    return kept.filter("ours", pl.col("target") != pl.col("now_balance")).with_columns(
        action=pl.when(jump | fell).then(pl.lit("hold")).otherwise(pl.lit("adjust")),
        changes=pl.when(jump).then(pl.lit("")).otherwise(pl.lit("balance")),
        code=pl.when(jump)
        .then(pl.lit("above_max_credits"))
        .when(fell)
        .then(pl.when("told").then(pl.lit("fell")).otherwise(pl.lit("unlogged"))),
        reason=pl.when(jump)
        .then(_jump_reason(rules))
        .when(fell)
        .then(_fell_reason(rules))
        .otherwise(
            pl.format(
                "the balance is {}, wanted is {}: {} credits less {} not yet settled",
                plain(pl.col("now_balance")),
                plain(pl.col("target")),
                "credits",
                plain(pl.col("unsettled")),
            )
        ),
    )


def plain(amount: pl.Expr) -> pl.Expr:
    """A decimal as people write it: 12.5, not 12.500000."""
    return amount.cast(EXACT).cast(pl.String).str.strip_chars_end("0").str.strip_chars_end(".")
