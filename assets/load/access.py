"""Printing flags of customers in Nexudus: set for one customer so that nothing else of the record changes.

What belongs here: the write and its proof. What does not: who is chosen and the undo file (`pipeline/access.py`).

PUT replaces the whole record and clears what it leaves out (`nexudus-api.md` 3.4), so: read by id, merge, read again,
send the whole record, read back and compare every field. There is no version to hold against: what someone saves in
the milliseconds between the second read and the PUT is lost.
"""

from collections.abc import Mapping
from typing import Any

from assets.load.effect import after_write
from pipeline.access import Change, Result
from pipeline.clients.nexudus import replacement
from pipeline.errors import BridgeError, MissingError, RejectedError, UnknownOutcomeError, UnsafeError
from pipeline.resources import Bridge

ENTITY = "coworkers"

MOVING = frozenset({
    "UpdatedOn", "UpdatedBy", "SyncToPaperCutDue", "MinutesSinceLastRenewal", "CheckinSinceLastRenewal",
    "ChurnProbability", "EngagementLevel", "HasDueInvoices", "UserLastAccess", "CurrentAccessSignature",
})  # fmt: skip
"""Fields that Nexudus changes by itself."""

Record = dict[str, Any]


def set_flags(bridge: Bridge, change: Change) -> Result:
    """Set the flags of one customer and prove that they are set and nothing else is different.

    Returns:
        The result; an error after which nobody else is to be tried is its `halt`. Raises nothing of `BridgeError`.
    """
    customer = change.coworker_id
    try:
        return _set(bridge, customer, change.flags)
    except MissingError:
        return Result(customer, "skipped", "is no longer in Nexudus")
    except RejectedError as error:
        return Result(customer, "failed", str(error))
    except UnknownOutcomeError as error:
        return Result(customer, "unknown", str(error))
    except BridgeError as error:
        return Result(customer, "failed", str(error), error)


def _set(bridge: Bridge, customer: int, flags: Mapping[str, bool]) -> Result:
    before = bridge.nexudus.record(ENTITY, customer)
    wanted = {flag: value for flag, value in flags.items() if before[flag] != value}
    if before.get("Archived") or not wanted:
        return Result(customer, "skipped", "is archived now" if wanted else "has it already")
    if _differences(before, bridge.nexudus.record(ENTITY, customer)):
        return Result(customer, "skipped", "was changed in Nexudus at this moment; run the command again")
    return _written(bridge, before, wanted)


def _written(bridge: Bridge, before: Record, wanted: dict[str, bool]) -> Result:
    customer, unclear = before["Id"], ""
    try:
        bridge.nexudus.update(ENTITY, {**replacement(before), **wanted})
    except UnknownOutcomeError as error:
        unclear = f"{error.tried}; the flag is not set yet, look again with `printbridge access list`"
    after = after_write(lambda: bridge.nexudus.record(ENTITY, customer))
    if any(after[flag] != value for flag, value in wanted.items()):
        if unclear:
            return Result(customer, "unknown", unclear)
        ignored = UnsafeError(
            f"Nexudus answered that customer {customer} was saved, but did not set {', '.join(wanted)}",
            "set the flag in Nexudus (Settings > Bulk edit), and report this",
        )
        return Result(customer, "failed", str(ignored), ignored)
    other = _differences(before, after) - wanted.keys()
    if not other:
        return Result(customer, "done")
    altered = UnsafeError(
        f"Customer {customer} has the flag now, but {', '.join(sorted(other))} changed at the same moment",
        "compare the customer with its history in Nexudus; nobody else was changed",
    )
    return Result(customer, "altered", str(altered), altered)


def _differences(one: Record, other: Record) -> set[str]:
    """The fields that differ, without those that Nexudus changes by itself."""
    names = (one.keys() | other.keys()) - MOVING
    return {name for name in names if one.get(name) != other.get(name)}
