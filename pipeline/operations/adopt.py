"""Adoption: users that PaperCut has already, from the Nexudus Bridge or made by hand, become ours as they are.

What belongs here: which user stands for which customer, why others are left alone, and the ownership record of those
that are taken over. What does not: writing the mark (`pipeline.effects.users`), and what the next plan changes in them
(`pipeline.domain.people.differences`).

Taking over writes our mark and nothing else: balance, card, password and PIN stay. (`rules.md` S15, S16, E12;
`money-safety.md` 4.1, 4.2.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import polars as pl

from pipeline.domain import names
from pipeline.domain.money.attribution import counts
from pipeline.domain.people.ownership import OWNED, observed
from pipeline.effects.effect import Outcome, pipelined
from pipeline.effects.users import mark_user
from pipeline.errors import ConfigError
from pipeline.site import Site
from pipeline.store import jobs, ownership
from pipeline.store.ownership import Event, Identity
from pipeline.store.sql import read

RESERVED = ("admin", "administrator", "guest", "anonymous", "papercut", "root")
"""Names that are no customer's, and so is every name that begins with [ or !! (`money-safety.md` 4.2)."""

OLD_AGENT = (
    "Switch the old agent off first, outside opening hours: of two programs that write the same users, each undoes what"
    " the other did.",
    "Nexudus PaperCut Bridge: toggle it off in its settings in Nexudus.",
    "Nexudus PaperCut Extender: toggle it off in Nexudus; then, on its Windows machine, open Task Scheduler, folder"
    " Nexudus_spaces, and disable every task there. Disable, do not delete: that is the way back.",
)
"""How to switch off what ran before (`rules.md` S15, S16)."""


class Result(NamedTuple):
    """What became of one user: done, held (it is not what it was), failed (certainly not done) or unknown."""

    username: str
    outcome: Literal["done", "held", "failed", "unknown"]
    detail: str = ""


OUTCOMES: dict[str, Literal["done", "held", "failed", "unknown"]] = {
    "done": "done", "held": "held", "unsure": "unknown", "unknown": "unknown", "refused": "failed", "undone": "failed",
    "not tried": "failed",
}  # fmt: skip
"""How the outcome of the mark stands in a `Result`."""

CHUNK = 100
"""Users between two commits."""


def matches(accounts: pl.DataFrame, users: pl.DataFrame, owned: pl.DataFrame) -> pl.DataFrame:
    """The users of PaperCut that are not ours and match somebody who should have one, by user name or by e-mail.

    Args:
        accounts: PrintAccounts of the site.
        users: PrintUsers of the site, complete.
        owned: current ownership rows (`domain.people.ownership.OWNED`).

    Returns:
        username, coworker_id, email_key, access, pin_digest; matched (user name, e-mail); becomes, the user name that
        the next plan gives it; disabled; recorded, whether the record names it as ours; refusal, null for those that
        can be taken over; by username, coworker_id.
    """
    seen = observed(users, owned.select(pl.col(name).cast(dtype) for name, dtype in OWNED.items()))
    wanted = accounts.filter(pl.col("reason").is_null()).select(
        "email_key", "coworker_id", "access", "pin_digest", becomes="username"
    )
    ours = seen.filter("ours").select(coworker_id="our_coworker_id", held="username").unique("coworker_id")
    strangers = seen.filter(~pl.col("ours")).with_columns(user_key=names.email_key("now_email"))
    by_name = strangers.join(wanted.with_columns(username="becomes"), on="username")
    by_email = strangers.join(wanted.with_columns(user_key="email_key"), on="user_key")
    both = ["username", "email_key"]
    found = pl.concat([by_name, by_email.join(by_name, on=both, how="anti")], how="diagonal")
    found = found.join(ours, on="coworker_id", how="left").with_columns(
        users_of=pl.col("username").sort().over("email_key", mapping_strategy="join"),
        accounts_of=pl.col("email_key").n_unique().over("username"),
    )
    return found.select(
        "username",
        "coworker_id",
        "email_key",
        "access",
        "pin_digest",
        matched=pl.when(pl.col("username") == pl.col("becomes")).then(pl.lit("user name")).otherwise(pl.lit("e-mail")),
        becomes="becomes",
        disabled="now_disabled",
        recorded=(pl.col("our_state") == "owned").fill_null(value=False),
        refusal=_refusal(),
    ).sort("username", "coworker_id")


def _refusal() -> pl.Expr:
    """Why a user is not taken over: the first that applies."""
    name, other_email = pl.col("username"), pl.col("user_key").ne(pl.col("email_key")).fill_null(value=False)
    reasons = (
        (
            name.is_in(RESERVED) | name.str.starts_with("[") | name.str.starts_with("!!"),
            pl.lit("a built-in user is never taken over"),
        ),
        (
            ~pl.col("now_internal"),
            pl.lit("it comes from a directory and is no internal user: take it out of the directory sync in PaperCut"),
        ),
        (
            (pl.col("now_marked_coworker_id") != pl.col("coworker_id")).fill_null(value=False),
            pl.format("its notes hold the mark of customer {}: see `printbridge recover`", "now_marked_coworker_id"),
        ),
        (
            pl.col("held").is_not_null(),
            pl.format("the customer has the user {} already, which is ours: delete one of the two by hand", "held"),
        ),
        (
            other_email,
            pl.lit("its user name is that of the customer, but its e-mail is another: correct the e-mail in PaperCut"),
        ),
        (
            pl.col("users_of").list.len() > 1,
            pl.format("several users match the customer ({}): delete all but one", pl.col("users_of").list.join(", ")),
        ),
        (pl.col("accounts_of") > 1, pl.lit("it matches several customers: correct its e-mail in PaperCut")),
    )
    return pl.coalesce(*(pl.when(applies).then(why) for applies, why in reasons), pl.lit(None, pl.String))


def survey(site: Site) -> pl.DataFrame:
    """`matches` for a site, from what the last run or plan observed."""
    with site.store.connect() as con:
        return matches(
            read(con, "print_accounts", site.key), read(con, "print_users", site.key),
            ownership.owned(con, site.key),
        )  # fmt: skip


def printed_since(site: Site, usernames: Sequence[str]) -> tuple[int, float]:
    """How many chargeable jobs some users printed since `charge_from`, and their cost in credits."""
    with site.store.connect() as con:
        theirs = jobs.of_users(con, site.key, usernames)
    theirs = theirs.filter(counts(), ~pl.col("shared_account"), pl.col("printed_at") >= site.rules.charge_from)
    return theirs.height, float(theirs["cost"].sum() or 0)


def carry_out(site: Site, rows: Sequence[Mapping[str, Any]]) -> list[Result]:
    """Take users over, under the lock of the site: the intent first, then the mark, then the ownership.

    A run that ends in between leaves the intent; the next plan sees it and writes the mark that is missing.

    Args:
        site: the site.
        rows: rows of `matches` without a refusal.

    Returns:
        What came of each row, in their order; after an error that ends the calls the rest is not tried.

    Raises:
        ConfigError: bridge.toml says dry_run.
        TransientError: a run held the site for too long.
    """
    if site.writes_nothing:
        raise ConfigError('mode is "dry_run" in bridge.toml, so nothing is written', 'set mode = "apply"')
    results: list[Result] = []

    def turn(answered: list[tuple[Mapping[str, Any], Outcome]], begun: Sequence[Mapping[str, Any]]) -> None:
        events = [event for row, outcome in answered if (event := _event(row, outcome))]
        intents: list[Event] = [{**_identity(row), "state": "creating", "reason": "about to adopt"} for row in begun]
        site.store.commit(lambda con: ownership.record(con, site.key, [*events, *intents], site.clock()))
        results.extend(Result(row["username"], OUTCOMES[outcome.kind], outcome.told()) for row, outcome in answered)

    def mark(row: Mapping[str, Any]) -> Outcome:
        return mark_user(site, row["username"], row["coworker_id"])

    with site.sites.hold(site.name, wait_seconds=60):
        pipelined(list(rows), mark, turn, chunk=CHUNK, connections=site.settings.server.connections)
    return results


def _identity(row: Mapping[str, Any]) -> Identity:
    return {
        "username": row["username"], "coworker_id": row["coworker_id"], "email_key": row["email_key"],
        "access": row["access"],
    }  # fmt: skip


def _event(row: Mapping[str, Any], outcome: Outcome) -> Event | None:
    """What the record says afterwards; with an unknown outcome the intent stands, and the next run looks."""
    match OUTCOMES[outcome.kind]:
        case "done":
            # The PIN counts as written: the password that the customer knows stays until the PIN changes in Nexudus.
            return {**_identity(row), "state": "owned", "reason": "adopted", "pin_digest": row["pin_digest"]}
        case "unknown":
            return None
        case _:
            state = "owned" if row["recorded"] else "released"
            return {"username": row["username"], "state": state, "reason": "not adopted"}
