"""Safety stops: what a gate closed stays closed until a person resumes it, and a resumption is used once.

What belongs here: the append-only record of stops, resumptions and their use, and whether a restored warehouse was
recovered. What does not: the gates themselves (caps in `domain.people.plan`, the difference of a day in
`domain.money.reconcile`).

A phase is `stopped`, `resumed` or `open`. A resumption is for one plan (its digest and its size) and one day. The first
run that needs it uses it up, and so does the first run that does not: a permission that stays armed would let through
what nobody has looked at.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from pipeline.domain.people.plan import Part
from pipeline.errors import UnsafeError
from pipeline.store import memory
from pipeline.store.sql import Connection

PHASES = ("charges", "remove", "rename")
"""What can be stopped: sending charges, removing users, renaming users."""

VALID = timedelta(days=1)
"""How long a resumption that nobody used holds."""


class Gate(NamedTuple):
    """What a run is about to do in a phase, and why that needs a person; empty where it needs none."""

    part: Part
    why: str


class _Event(NamedTuple):
    """The newest event of a phase; of one that was never stopped, that it is open."""

    state: str
    reason: str
    plan: str | None
    size: int | None
    at: datetime


_RESTORED = "the backup"
_RECOVER = "first run `printbridge recover --site {site}`"


def states(con: Connection, site: str) -> dict[str, tuple[str, str]]:
    """For each phase that was ever stopped, its state (stopped, resumed, open) and the reason."""
    rows = con.execute(
        "SELECT phase, arg_max(state, n), arg_max(reason, n) FROM stop_event WHERE site = $site GROUP BY phase"
        " ORDER BY phase",
        {"site": site},
    ).fetchall()
    return {phase: (state, reason) for phase, state, reason in rows}


def stopped(con: Connection, site: str) -> dict[str, str]:
    """The phases that are stopped now, each with its reason."""
    return {phase: reason for phase, (state, reason) in states(con, site).items() if state == "stopped"}


def record(
    con: Connection, site: str, phase: str, *, state: str, reason: str, at: datetime, part: Part | None = None
) -> None:
    """Append a stop, a resumption (of one part of a plan), or its use (`open`) inside a transaction."""
    plan, size = part or (None, None)
    con.execute(
        "INSERT INTO stop_event BY NAME SELECT $site AS site, $phase AS phase, coalesce(max(n) + 1, 0) AS n,"
        " $state AS state, $at AS happened_at, $reason AS reason, $plan AS plan, $size AS size FROM stop_event"
        " WHERE site = $site AND phase = $phase",
        {
            "site": site, "phase": phase, "state": state, "at": at, "reason": reason, "plan": plan, "size": size,
        },
    )  # fmt: skip


def passed(con: Connection, site: str, phase: str, gate: Gate, *, by: str, at: datetime) -> str:
    """Whether a run may go on with a phase, inside a transaction; the answer is recorded.

    Args:
        con: an open connection.
        site: the site.
        phase: one of PHASES.
        gate: what the run is about to do there, and why that needs a person; empty where it needs none.
        by: the plan or run that asks, for the record.
        at: the current time, UTC.

    Returns:
        Why it may not go on; empty where it may.
    """
    latest = _latest(con, site, phase)
    if latest.state == "stopped":
        return f"Site {site} is stopped for {phase}: {latest.reason}"
    refused = _outdated(latest, gate, at) if latest.state == "resumed" and gate.why else ""
    if latest.state == "resumed" and not refused:
        used = f"used by {by}" if gate.why else f"not needed any more: {by} has nothing that was stopped"
        record(con, site, phase, state="open", reason=used, at=at)
        return ""
    if gate.why:
        why = f"{gate.why}. {refused}" if refused else gate.why
        record(con, site, phase, state="stopped", reason=why, at=at)
        return why
    return ""


def let_go(con: Connection, site: str, phase: str, part: Part, *, by: str, at: datetime) -> bool:
    """Whether a person let go of the held rows of a phase, inside a transaction; that uses the permission up.

    Nothing is stopped otherwise: each row waits by itself, and goes when its reason goes.
    """
    latest = _latest(con, site, phase)
    if latest.state != "resumed":
        return False
    refused = _outdated(latest, Gate(part, "held"), at) if part.size else "nothing of it is held any more"
    record(con, site, phase, state="open", reason=refused or f"used by {by}", at=at)
    return not refused


def spend(con: Connection, site: str, phase: str, *, by: str, at: datetime) -> None:
    """Use up a resumption that is for no plan, inside a transaction; one that is older than a day is a stop again."""
    latest = _latest(con, site, phase)
    if latest.state != "resumed":
        return
    late = _expired(latest, at)
    record(con, site, phase, state="stopped" if late else "open", reason=late or f"used by {by}", at=at)


def _outdated(resumed: _Event, gate: Gate, at: datetime) -> str:
    """Why a resumption does not hold for what a run is about to do; empty where it does."""
    if (resumed.plan, resumed.size) != gate.part:
        # Before resumptions were for a plan, none was kept.
        allowed = f"{resumed.size} rows were" if resumed.plan else "no plan was"
        return (
            f"The plan has changed since the site was resumed: {allowed} allowed then, and these are {gate.part.size}"
            " others"
        )
    return _expired(resumed, at)


def _expired(resumed: _Event, at: datetime) -> str:
    if at - resumed.at <= VALID:
        return ""
    return f"The site was resumed {resumed.at:%Y-%m-%d %H:%M} UTC, which holds for one day and was not used"


def _latest(con: Connection, site: str, phase: str) -> _Event:
    row = con.execute(
        "SELECT state, reason, plan, size, happened_at FROM stop_event WHERE site = $site AND phase = $phase"
        " ORDER BY n DESC LIMIT 1",
        {"site": site, "phase": phase},
    ).fetchone()
    return _Event(*row) if row else _Event("open", "", None, None, memory.LONG_AGO)


def refuse_if_stopped(con: Connection, site: str, phase: str) -> None:
    """Stop here if the phase is stopped.

    Raises:
        UnsafeError: with the reason of the stop.
    """
    latest = _latest(con, site, phase)
    if latest.state == "stopped":
        raise UnsafeError(
            f"Site {site} is stopped for {phase}: {latest.reason}", f"review it, then run `printbridge resume {site}`"
        )


def note_restored(con: Connection, sites: Iterable[str], backup: str, at: datetime) -> None:
    """Stop the charges of every site of a warehouse that a backup was put in the place of, inside a transaction."""
    memory.note(con, memory.ACCOUNT, memory.RESTORED, at.isoformat(), at)
    for site in sites:
        if "charges" not in stopped(con, site):
            reason = (
                f"{_RESTORED} {backup} was restored, and lacks what was charged since; {_RECOVER.format(site=site)}"
            )
            record(con, site, "charges", state="stopped", reason=reason, at=at)


def note_recovered(con: Connection, site: str, at: datetime) -> None:
    """Remember that a site was recovered, and end the stop of the restored backup, inside a transaction.

    A stop for any other reason stays until a person resumes it.
    """
    memory.note(con, site, memory.RECOVERED, at.isoformat(), at)
    latest = _latest(con, site, "charges")
    if latest.state == "stopped" and latest.reason.startswith(_RESTORED):
        record(con, site, "charges", state="open", reason="recovered, and nothing is left in doubt", at=at)


def unrecovered(con: Connection, site: str) -> bool:
    """Whether a backup was put in the place of this warehouse and the site has not been recovered since."""
    restored = memory.recall(con, memory.ACCOUNT, memory.RESTORED)
    recovered = memory.recall(con, site, memory.RECOVERED)
    return restored is not None and (recovered is None or recovered < restored)


def refuse_if_unrecovered(con: Connection, site: str) -> None:
    """Nobody can look at what a restored warehouse lacks before it was recovered.

    Raises:
        UnsafeError: a backup was restored, and the site not recovered since.
    """
    if unrecovered(con, site):
        raise UnsafeError(
            f"Site {site} cannot go on yet: a backup was restored, and what was charged since is not in it; nothing was"
            " resumed",
            _RECOVER.format(site=site),
        )
