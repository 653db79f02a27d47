"""Invitations: who waits to be invited to the print system of a site, who was invited, and the e-mail sent again.

What belongs here: the choice of a person (`rules.md` Z3) and the list of those who have not logged in yet (Z5). What
does not: inviting, which is a row of the plan (`pipeline.domain.people.differences`) that the next run applies.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import polars as pl

from pipeline.domain.people.reasons import REASONS
from pipeline.effects.effect import Outcome
from pipeline.effects.users import resend_invitation
from pipeline.errors import ConfigError
from pipeline.services.printing import Invitation
from pipeline.site import Site
from pipeline.store import invitations
from pipeline.store.sql import read
from pipeline.words import listed

E_MAIL = (
    "ezeep sends each of them an e-mail of its own, whose text cannot be changed. Whoever has not logged in to ezeep"
    " once cannot print."
)
"""What a person must know before others are invited (`rules.md` Z4, Z5)."""


class Invited(NamedTuple):
    """One person who was invited and has not logged in.

    Attributes:
        invitation: the newest one.
        coworker_id: the customer; None where the e-mail is that of nobody who is counted in.
        state: waiting, or expired: then only another e-mail helps.
    """

    invitation: Invitation
    coworker_id: int | None
    state: str


def waiting(site: Site) -> pl.DataFrame:
    """The customers whom the last plan holds until a person asks for them: coworker_id, email, access; by e-mail."""
    with site.store.connect() as con:
        plan = read(con, "user_sync_plan", site.key)
    return plan.filter(code="by_hand").select("coworker_id", "email", "access").sort("email")


def left_out(site: Site, chosen: pl.DataFrame) -> list[str]:
    """Why others of the chosen customers are not invited, a sentence for each reason with the first ids.

    Args:
        site: the site; the accounts are those of its last plan.
        chosen: coworker_id.
    """
    with site.store.connect() as con:
        accounts = read(con, "print_accounts", site.key)
    found = accounts.drop_nulls("reason").join(chosen.select("coworker_id"), on="coworker_id", how="semi")
    groups = found.group_by("reason").agg(pl.col("coworker_id").sort()).sort("reason").iter_rows()
    return [
        f"{listed([str(each) for each in ids], 'chosen customer')} not invited: {REASONS[reason].why}."
        for reason, ids in groups
    ]


def ask(site: Site, customers: Iterable[int], operator: str) -> None:
    """Ask for customers to be invited: the next run of the site does it, within a day.

    Raises:
        ConfigError: bridge.toml says dry_run.
    """
    _refuse_in_dry_run(site)
    at = site.clock()
    site.store.commit(lambda con: invitations.ask(con, site.key, customers, operator=operator, at=at))


def not_logged_in(site: Site) -> list[Invited]:
    """Everybody who was invited and has not logged in, as the print system says now; by e-mail.

    Raises:
        PrintbridgeError: the print system could not be asked.
    """
    with site.store.connect() as con:
        accounts = read(con, "print_accounts", site.key).drop_nulls("username")
    customers = dict(accounts.select("username", "coworker_id").iter_rows())
    newest = {each.email: each for each in site.printing.invitations()}
    return [
        Invited(each, customers.get(each.email), _state(each, site.clock()))
        for each in newest.values()
        if each.state != "accepted"
    ]


def resend(site: Site, chosen: Iterable[Invited]) -> list[tuple[Invited, Outcome]]:
    """Let the e-mail be sent again, once to each; raises as `ask`."""
    _refuse_in_dry_run(site)
    return [(each, resend_invitation(site, each.invitation)) for each in chosen]


def _state(invitation: Invitation, now: datetime) -> str:
    over = invitation.state == "expired" or (invitation.expires is not None and invitation.expires <= now)
    return "expired" if over else "waiting"


def _refuse_in_dry_run(site: Site) -> None:
    if site.writes_nothing:
        raise ConfigError('mode is "dry_run" in bridge.toml, so nobody is written to', 'set mode = "apply"')
