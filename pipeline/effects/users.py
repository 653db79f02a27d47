"""Print users: one row of the plan becomes one change in the print system, and the ownership events that it leaves.

What belongs here: fetching PINs for the users about to be written, the intent before and the record after each change.
What does not: whether and when the plan may be applied (`pipeline.steps.sync_users`), who should be a user
(`pipeline.domain.people`), and which calls a change takes (the print system).

PINs pass through here and nowhere else: they are fetched from Nexudus for the users about to be written, and forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

from pipeline.effects.effect import Outcome, attempt, pipelined
from pipeline.errors import MissingError, PermanentError
from pipeline.services.nexudus import records
from pipeline.services.printing import Applied, Change, Invitation, Secrets
from pipeline.site import Site
from pipeline.store import ownership
from pipeline.store.ownership import Digests, Event, Identity

CHUNK = 200
"""Users between two commits: a second or two of work; a killed run leaves up to two of these to be observed again."""

CARD_FIELDS = {"access_card": "AccessCardId", "key_fob": "KeyFobNumber", "pin": "AccessPincode"}

WAYS = ("access", "restricted", "disabled")
"""The fields of the row that writes which way in a user has."""


@dataclass(frozen=True)
class Planned:
    """One row of a plan: the change, whose user it makes or keeps, and the digest of what it asks for."""

    change: Change
    email_key: str | None
    access: str | None
    ask: str | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any], *, comment: str, delete: bool) -> Planned:
        """From a row of UserSyncPlan."""
        change = Change(
            action=row["action"], username=row["username"], new_username=row["new_username"],
            coworker_id=row["coworker_id"] or 0, email=row["email"] or "", full_name=row["full_name"] or "",
            restricted=bool(row["restricted"]), balance=row["balance"] or Decimal(0), target=row["target"],
            fields=tuple(filter(None, row["changes"].split(","))), reason=row["reason"], comment=comment, delete=delete,
        )  # fmt: skip
        return cls(change, row["email_key"], row["access"], row["ask"])

    @property
    def name(self) -> str:
        """The name of the user afterwards."""
        return self.change.new_username or self.change.username

    @property
    def needs_secrets(self) -> bool:
        """Whether the change writes a PIN, a password or a card."""
        return bool({"pin", "password", "card"} & set(self.change.fields))

    @property
    def of_balance(self) -> bool:
        """Whether the change is one of the balance of a user that is there."""
        return self.change.action != "create" and "balance" in self.change.fields

    @property
    def begins(self) -> bool:
        """Whether the change gives a user a name that it did not have."""
        return self.change.action in {"create", "rename"}

    @property
    def identity(self) -> Identity:
        """Whose name the change makes or keeps."""
        return {
            "username": self.name, "coworker_id": self.change.coworker_id or None, "email_key": self.email_key,
            "access": self.access,
        }  # fmt: skip


Store = Callable[[list[tuple[Planned, Outcome]], list[Event]], None]
"""Stores the outcomes of some changes and, in the same commit, ownership events."""


class _Given(NamedTuple):
    """What changes are made with: the secrets by customer, and the length to which passwords are padded."""

    secrets: Mapping[int, Secrets]
    length: int | None = None

    def to(self, planned: Planned) -> Secrets:
        return self.secrets.get(planned.change.coworker_id, Secrets())


def apply_plan(site: Site, planned: Sequence[Planned], begun: frozenset[str], store: Store) -> None:
    """Apply the rows of one stage, which have one action: intents before the first call, outcomes chunk by chunk.

    Args:
        site: the site.
        planned: rows of one stage.
        begun: names that an earlier run was about to make; it may have made them.
        store: stores outcomes and events.

    Raises:
        ConfigError: the print system is not ready for it; nothing was changed.
        PrintbridgeError: the first error after which no further change was tried, once all outcomes are stored.
    """
    given = _given(site, planned)

    def turn(answered: list[tuple[Planned, Outcome]], next_ones: Sequence[Planned]) -> None:
        events = [event for each, outcome in answered for event in _events(site, each, outcome, given, begun)]
        store(answered, [*events, *_intents(next_ones)])

    halt = pipelined(
        planned, partial(_tried, site, given), turn, chunk=CHUNK, connections=site.settings.server.connections
    )
    if halt:
        raise halt


def mark_user(site: Site, username: str, coworker_id: int) -> Outcome:
    """Write our mark to a user that somebody else made; it is `held` where the user is not what it was."""
    outcome = attempt(lambda: _outcome(site.printing.mark(username, coworker_id)))
    if outcome.kind == "unknown":
        return outcome._replace(detail=f"{outcome.detail} The next run looks whether the mark is there.")
    return outcome


def resend_invitation(site: Site, invitation: Invitation) -> Outcome:
    """Let the print system send the e-mail of an invitation again."""
    return attempt(lambda: _outcome(site.printing.resend(invitation)))


def _given(site: Site, planned: Iterable[Planned]) -> _Given:
    """The PINs and cards of the customers whose users are about to get them, once the print system is ready for it."""
    needing = {each.change.coworker_id for each in planned if each.needs_secrets}
    if not needing:
        return _Given({})
    length = site.printing.ready()
    card = CARD_FIELDS.get(site.rules.card_number)
    found: dict[int, Secrets] = {}
    for record in site.nexudus.batch("coworkers", sorted(needing)):
        with suppress(PermanentError):  # whoever has a PIN or card that cannot be read is held below, and named
            found[record["Id"]] = Secrets(records.pin(record), records.card(record, card) if card else None)
    return _Given(found, length)


def _tried(site: Site, given: _Given, planned: Planned) -> Outcome:
    change, secrets = planned.change, given.to(planned)
    if change.action == "create" and "pin" in change.fields and not secrets.pin:
        return Outcome("held", f"customer {change.coworker_id} has no usable PIN any more; set one in Nexudus")

    def effect() -> Outcome:
        try:
            return _outcome(site.printing.apply(change, secrets))
        except MissingError as error:
            # The plan is wrong about who is there: the next run observes everybody before it goes on.
            return Outcome("undone", str(error), halt=error)

    return attempt(effect)


def _outcome(applied: Applied) -> Outcome:
    return Outcome(applied.outcome, applied.detail)


def _intents(planned: Sequence[Planned]) -> list[Event]:
    """The events before the calls: a name is ours, and a removal counts, from the moment at which it may be made."""
    events: list[Event] = []
    for each in planned:
        if each.begins:
            begun: Event = {**each.identity, "state": "creating", "reason": f"about to {each.change.action}"}
            if each.change.action == "rename":
                begun["renamed_from"] = each.change.username
            events.append(begun)
        elif each.change.action == "remove":
            events.append({"username": each.change.username, "reason": ownership.REMOVING})
    return events


def _events(site: Site, planned: Planned, outcome: Outcome, given: _Given, begun: frozenset[str]) -> list[Event]:
    """What the record says after a change."""
    if outcome.kind in {"done", "unsure"}:
        return _made(site, planned, given)
    if planned.begins:
        # A name that was not made may be somebody else's by now, and must not look like one of ours.
        nobodys = outcome.kind in {"refused", "not tried", "held"} and planned.name not in begun
        reason = f"refused by {site.printing.title}" if outcome.kind == "refused" else outcome.kind
        return [{"username": planned.name, "state": "released", "reason": reason}] if nobodys else []
    if planned.change.action == "remove" and outcome.kind != "unknown":
        return [{"username": planned.name, "reason": ownership.NOT_REMOVED}]
    return _in_doubt(planned) if outcome.kind in {"refused", "unknown"} else []


def _made(site: Site, planned: Planned, given: _Given) -> list[Event]:
    """The events of a change that was made; the digests of what was written stand in them."""
    change = planned.change
    digests = _written(site, planned, given)
    owned: Event = {**planned.identity, "state": "owned", "reason": "created", **digests}
    match change.action:
        case "create":
            return [owned]
        case "update":
            return [_updated(planned, digests)]
        case "rename":
            released: Event = {"username": change.username, "state": "released", "reason": "renamed"}
            return [released, {**owned, "renamed_from": change.username, "reason": "renamed"}]
        case "remove":
            state = "released" if change.delete else "owned"
            return [{"username": change.username, "state": state, "reason": ownership.REMOVED}]
        case _:  # a balance, which no event says anything of
            return []


def _written(site: Site, planned: Planned, given: _Given) -> Digests:
    """What of the secrets was written."""
    change, secrets, digests = planned.change, given.to(planned), Digests()
    if "pin" in change.fields and secrets.pin:
        digests["pin_digest"] = site.digest(secrets.pin)
    if secrets.pin and {"pin", "password"} & set(change.fields):
        digests["password_length"] = given.length
    if change.action == "create" or "card" in change.fields:
        digests["card_digest"] = site.digest(secrets.card)
    return digests


def _updated(planned: Planned, digests: Digests) -> Event:
    """An update records what it wrote and no more: whose the user is stands in the row that writes our mark."""
    fields = set(planned.change.fields)
    reason = "updated " + ",".join(planned.change.fields)
    if fields & {"mark", "customer", "email"}:
        return {**planned.identity, "state": "owned", "reason": reason, **digests}
    updated: Event = {"username": planned.name, "reason": reason, **digests}
    if fields & set(WAYS):
        updated["access"] = planned.access
    return updated


def _in_doubt(planned: Planned) -> list[Event]:
    """No print system tells a PIN, so one that may have been written counts as not known, and is written again.

    Without this, a PIN that is changed and changed back would stay changed.
    """
    fields, lost = planned.change.fields, Digests()
    if "pin" in fields:
        lost["pin_digest"] = None
    if "card" in fields:
        lost["card_digest"] = None
    if "password" in fields:
        lost["password_length"] = None
    return [{"username": planned.change.username, "reason": "a change was in doubt", **lost}] if lost else []
