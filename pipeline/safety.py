"""Safety stops: what a gate closed stays closed until a person resumes it.

What belongs here: the append-only record of stops and resumptions, and whether a restored warehouse was recovered. What
does not: the gates themselves (caps in
`domain/plan.py`, reconciliation in `domain/reconcile.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from pipeline.errors import UnsafeError
from pipeline.warehouse import Connection, bookmark, set_bookmark

PHASES = ("charges", "remove", "rename")
"""What can be stopped: sending charges, removing users, renaming users."""


_RESTORED = "the backup"
_RECOVER = "first run `printbridge recover --site {site}`"


def states(con: Connection, site: str) -> dict[str, tuple[str, str]]:
    """For each phase that was ever stopped, its state (stopped, resumed, open) and the reason."""
    rows = con.execute(
        "SELECT phase, arg_max(state, rowid), arg_max(reason, rowid) FROM safety_event"
        " WHERE site = $site GROUP BY phase ORDER BY phase",
        {"site": site},
    ).fetchall()
    return {phase: (state, reason) for phase, state, reason in rows}


def record(con: Connection, site: str, phase: str, *, state: str, reason: str, at: datetime) -> None:
    """Append a stop, a resumption, or its use (`open`) inside a transaction."""
    con.execute("INSERT INTO safety_event VALUES (?, ?, ?, ?, ?)", [site, phase, state, at, reason])


def refuse_if_stopped(con: Connection, site: str, phase: str) -> None:
    """Stop here if the phase is stopped.

    Raises:
        UnsafeError: with the reason of the stop.
    """
    state, reason = states(con, site).get(phase, ("open", ""))
    if state == "stopped":
        raise UnsafeError(
            f"Site {site} is stopped for {phase}: {reason}", f"review it, then run `printbridge resume {site}`"
        )


def note_restored(con: Connection, sites: Iterable[str], backup: str, at: datetime) -> None:
    """Stop the charges of every site of a warehouse that a backup was put in the place of, inside a transaction."""
    set_bookmark(con, "*", "restored_at", at.isoformat(), at)
    for site in sites:
        if states(con, site).get("charges", ("open", ""))[0] != "stopped":
            reason = (
                f"{_RESTORED} {backup} was restored, and lacks what was charged since; {_RECOVER.format(site=site)}"
            )
            record(con, site, "charges", state="stopped", reason=reason, at=at)


def note_recovered(con: Connection, site: str, at: datetime) -> None:
    """Remember that a site was recovered, and end the stop of the restored backup, inside a transaction.

    A stop for any other reason stays until a person resumes it.
    """
    set_bookmark(con, site, "recovered_at", at.isoformat(), at)
    state, reason = states(con, site).get("charges", ("open", ""))
    if state == "stopped" and reason.startswith(_RESTORED):
        record(con, site, "charges", state="open", reason="recovered, and nothing is left in doubt", at=at)


def unrecovered(con: Connection, site: str) -> bool:
    """Whether a backup was put in the place of this warehouse and the site has not been recovered since."""
    restored, recovered = bookmark(con, "*", "restored_at"), bookmark(con, site, "recovered_at")
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
