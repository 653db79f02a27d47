"""Kinds: what a cause is, and every kind that there is.

What belongs here: the value, the names of the kinds, what resolves a held user, and many of one kind as one cause.
What does not: which causes stand (`causes.py`). Each kind is a heading of `docs/runbook.md`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from pipeline.words import counted

SHOWN, LONGEST = 10, 2000
"""Ids named in a message; characters of one sentence."""

KINDS = {
    "run failed": "a run of a job ended with an error",
    "stopped": "a safety gate closed, and nothing of its kind is done until a person resumes it",
    "held": "charges wait for a person",
    "nobody looks": "the schedule has not looked at the sites for too long, so nothing new is seen",
    "stale": "no run of a site has finished for `stale_hours`",
    "seats": "the PaperCut licence has no seat, or hardly any, for more customers",
    "unreadable jobs": "rows of the job log cannot be read, so nobody is charged for them",
    "pages taken back": "rows of a report take pages back, and of which print is not sure",
    "unreadable records": "Nexudus records cannot be read and are left out",
    "unreadable users": "PaperCut users cannot be read and are left as they are",
    "jobs without an owner": "jobs of guests and unknown users, for which nobody is charged",
    "printer without a price": "the jobs of a printer cost nothing",
    "credit too large": "a credit is above max_credits, so it does not count",
    "books disagree": "PaperCut, the ledger and Nexudus differ by cents that nobody can explain",
    "sale deleted": "a confirmed sale is missing in Nexudus",
    "credit changed by hand": "more or less is left of a credit than our uses of it explain",
    "sale of no job": "Nexudus has a sale under a reference of the site, for which the log has no job",
    "sale without an answer": "a site takes no money any more, but has sales on the way",
    "site removed": "a site is not in bridge.toml any more and has charges outstanding",
    "customer left out": "something in a customer's record keeps them from printing",
    "user held: foreign name": "PaperCut has a user of a customer's name that is not ours",
    "user held: no seat": "a customer waits for a licence seat",
    "user held: by hand": "a customer may print and waits for a person to invite them",
    "user held: too large a credit": "a balance would rise by more than max_credits",
    "user held: disabled": "a person disabled the user of a customer who may print",
    "user held: balance fell": "the balance of a user fell without a job, so it is not raised",
    "user held: no effect": "PaperCut says yes to a change of a user, again and again, and changes nothing",
    "user held: other": "a user waits for a person for the reason that the plan tells",
    "mark lost": "a user of ours does not carry our mark any more, so nothing is done to it",
    "prints without right": "a customer may not print any more, and their user can, because its mark is lost",
    "change refused": "the same change of a user fails in every run",
}
"""Every kind of cause; for `stopped` and `held` the runbook says more, by phase and by reason."""


HELD_REMEDIES = {
    "user held: foreign name": "`printbridge adopt --site {site}` shows whom it can take over; --apply does it",
    "user held: no seat": "buy seats, or take access from customers who no longer print; then raise licence_users in"
    " bridge.toml",
    "user held: by hand": "`printbridge access sync --site {site} --all` shows whom it invites; --apply does it",
    "user held: too large a credit": "check the credits in Nexudus, or raise max_credits of site {site} in bridge.toml",
    "user held: disabled": "enable the user in PaperCut if the customer is to print, or take the access in Nexudus",
    "user held: balance fell": "see in PaperCut who changed the balance (Users > user > Transactions); then"
    " `printbridge resume {site} balances` raises it again, or correct it there by hand",
    "user held: no effect": "set the value in PaperCut by hand, or put right there what keeps it as it is and run"
    " `printbridge resume {site} writes`",
    "user held: other": "`printbridge plan --site {site}` shows each with its reason; do what it says",
}
"""What resolves each kind of held row of a plan."""


@dataclass(frozen=True)
class Cause:
    """One cause, in words.

    Attributes:
        cause: what makes two causes the same.
        kind: one of KINDS, with the phase or reason behind it where there is one: `held: overdrawn`.
        title: what happened, in one line.
        facts: to whom, the numbers, since when.
        remedy: the command or step that resolves it.
        urgent: somebody can do now what they may not.
    """

    cause: str
    kind: str
    title: str
    facts: tuple[str, ...]
    remedy: str
    urgent: bool = False


@dataclass(frozen=True)
class Failure:
    """A failed step that no later run has made good, as Dagster recorded it; `site` is empty for jobs of all sites."""

    site: str
    jobs: tuple[str, ...]
    partitions: tuple[str, ...]
    step: str
    error: str
    text: str
    run_id: str
    failed_at: datetime


@dataclass(frozen=True)
class Silence:
    """Nobody has looked at the sites since a moment, UTC, if that is known, and what is known of the reason."""

    since: datetime | None
    why: str


def anchor(kind: str) -> str:
    """Where the runbook tells of a kind of cause."""
    return re.sub(r"[^a-z0-9 _-]", "", kind).replace(" ", "-")


def many(
    site: str, kind: str, one: str, examples: Sequence[str], *, remedy: str, ending: str, plural: str = "",
    urgent: bool = False, number: int | None = None,
) -> Iterator[Cause]:  # fmt: skip
    """One cause for all of a kind at a site, with the first as examples; none where there is none.

    Args:
        site: the site; `*` for the account.
        kind: one of KINDS.
        one: what is counted.
        examples: a sentence for each, or for `SHOWN` of them.
        remedy: what resolves it.
        ending: the title after the number and the noun.
        plural: the noun of several, where it has no -s.
        urgent: as in `Cause`.
        number: how many there are, where not each has a sentence.
    """
    if examples:
        number = number or len(examples)
        more = (f"And {number - SHOWN} more.",) if number > SHOWN else ()
        title = f"{site}: {counted(number, one, plural)}{ending}"
        yield Cause(f"{site} {kind}", kind, title, (*examples[:SHOWN], *more), remedy, urgent)
