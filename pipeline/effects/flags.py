"""Printing flags of customers in Nexudus: set for one customer so that nothing else of the record changes.

What belongs here: the write and its proof. What does not: who is chosen, and the undo file
(`pipeline.operations.access`).

PUT replaces the whole record and clears what it leaves out (`nexudus-api.md` 3.4), so: read by id, merge, read again,
send the whole record, read back and compare every field. There is no version to hold against: what someone saves in
the milliseconds between the second read and the PUT is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.effects.effect import Outcome, after_write, attempt
from pipeline.errors import MissingError, UnknownOutcomeError, UnsafeError
from pipeline.services.nexudus.client import NexudusClient, replacement

ENTITY = "coworkers"

MOVING = frozenset({
    "UpdatedOn", "UpdatedBy", "SyncToPaperCutDue", "MinutesSinceLastRenewal", "CheckinSinceLastRenewal",
    "ChurnProbability", "EngagementLevel", "HasDueInvoices", "UserLastAccess", "CurrentAccessSignature",
})  # fmt: skip
"""Fields that Nexudus changes by itself."""

Record = dict[str, Any]


def set_flags(nexudus: NexudusClient, customer: int, flags: Mapping[str, bool]) -> Outcome:
    """Set the flags of one customer and prove that they are set and nothing else is different.

    Args:
        nexudus: the client of the account.
        customer: the id of the customer.
        flags: field of Nexudus to value.
    """
    return attempt(lambda: _set(nexudus, customer, flags))


def _set(nexudus: NexudusClient, customer: int, flags: Mapping[str, bool]) -> Outcome:
    try:
        before = nexudus.record(ENTITY, customer)
        wanted = {flag: value for flag, value in flags.items() if before[flag] != value}
        if before.get("Archived") or not wanted:
            return Outcome("skipped", "is archived now" if wanted else "has it already")
        again = nexudus.record(ENTITY, customer)
    except MissingError:
        return Outcome("skipped", "is no longer in Nexudus")
    if _differences(before, again):
        return Outcome("skipped", "was changed in Nexudus at this moment; run the command again")
    return _written(nexudus, before, wanted)


def _written(nexudus: NexudusClient, before: Record, wanted: dict[str, bool]) -> Outcome:
    customer, unclear = before["Id"], ""
    try:
        nexudus.update(ENTITY, {**replacement(before), **wanted})
    except MissingError:
        return Outcome("skipped", "is no longer in Nexudus")
    except UnknownOutcomeError as error:
        unclear = f"{error.tried}; the flag is not set yet, look again with `printbridge access list`"
    after = after_write(lambda: nexudus.record(ENTITY, customer))
    if any(after[flag] != value for flag, value in wanted.items()):
        if unclear:
            return Outcome("unknown", unclear)
        ignored = UnsafeError(
            f"Nexudus answered that customer {customer} was saved, but did not set {', '.join(wanted)}",
            "set the flag in Nexudus (Settings > Bulk edit), and report this",
        )
        return Outcome("undone", str(ignored), halt=ignored)
    other = _differences(before, after) - wanted.keys()
    if not other:
        return Outcome("done")
    altered = UnsafeError(
        f"Customer {customer} has the flag now, but {', '.join(sorted(other))} changed at the same moment",
        "compare the customer with its history in Nexudus; nobody else was changed",
    )
    return Outcome("altered", str(altered), halt=altered)


def _differences(one: Record, other: Record) -> set[str]:
    """The fields that differ, without those that Nexudus changes by itself."""
    names = (one.keys() | other.keys()) - MOVING
    return {name for name in names if one.get(name) != other.get(name)}
