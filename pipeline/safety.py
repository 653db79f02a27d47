"""Safety stops: what a gate closed stays closed until a person resumes it.

What belongs here: the append-only record of stops and resumptions. What does not: the gates themselves (caps in
`domain/plan.py`, reconciliation in `domain/reconcile.py`).
"""

from __future__ import annotations

from datetime import datetime

from pipeline.errors import UnsafeError
from pipeline.warehouse import Connection

PHASES = ("charges", "remove", "rename")
"""What can be stopped: sending charges, removing users, renaming users."""


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
