"""The charge ledger: what was decided for each job, and what became of it in Nexudus.

What belongs here: the states of a line, who may move it, and the append-only tables that hold both. What does not:
deciding what a job costs (`pipeline.domain.money.charges`), talking to Nexudus (`pipeline.effects`), and the questions
about lines (`lines.py`). Every function works inside the caller's transaction, so that what is decided together is
stored together.

    priced ──> sending ──> confirmed ──> invoiced        held, void: a person's or a rule's last word, for now
      ^           ├──────> unknown ──> looked up after the settle time
      └───────────┴── definitely not done
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from pipeline.domain.money.reversals import taken_back
from pipeline.errors import UnsafeError
from pipeline.store.lines import lines_in
from pipeline.store.sql import Connection, insert

TRANSITIONS: dict[str | None, dict[str, str]] = {
    None: {
        "priced": "the rules decided; nothing has been sent",
        "held": "the rules could not decide; a person does",
        "confirmed": "nothing is to be sent: the job is free",
    },
    "priced": {
        "sending": "committed before the first byte leaves",
        "confirmed": "found in Nexudus before the first send: an earlier ledger sent it",
        "held": "what Nexudus holds, or the set-up, contradicts the line",
        "void": "the job changed before anything was sent",
    },
    "sending": {
        "confirmed": "Nexudus said so, in a parsed answer",
        "priced": "definitely not done: throttled, refused to connect, not signed in",
        "held": "Nexudus refused it with a reason",
        "unknown": "anything else, or a run that ended in between",
    },
    "unknown": {
        "confirmed": "looked up after the settle time and found",
        "priced": "looked up after the settle time, and absent",
        "held": "looked up and contradictory, or unknown for too long",
    },
    "confirmed": {
        "invoiced": "Nexudus put it on an invoice",
        "held": "Nexudus no longer has it, or has it changed",
        "void": "a person removed it on purpose",
    },
    "invoiced": {"held": "the invoice no longer agrees"},
    "held": {
        "priced": "a person wants it sent",
        "confirmed": "a person has seen it in Nexudus",
        "void": "a person waives it, or the job changed",
    },
    "void": {},
}
"""From each state, the states it may move to and why. `None` is a line that is not in the ledger yet."""


@dataclass(frozen=True)
class Mover:
    """Who moves a line: the run, a name for the part of the program or the person, and when (UTC)."""

    run_id: str
    actor: str
    at: datetime


def enter(con: Connection, charges: pl.DataFrame, mover: Mover) -> int:
    """Put decided lines into the ledger with their first event; lines that are already there are left alone.

    Args:
        con: a connection inside a transaction.
        charges: PrintCharges.
        mover: who decided.

    Returns:
        How many lines were new.

    Raises:
        UnsafeError: a line with the same reference but another amount, customer or credit is already there.
    """
    con.register("decided", charges)
    try:
        clashes = con.execute(
            "SELECT d.ref FROM decided d JOIN charge c USING (ref) WHERE (d.amount_cents, d.coworker_id, d.credit_id)"
            " IS DISTINCT FROM (c.amount_cents, c.coworker_id, c.credit_id)"
        ).fetchall()
        known = {row[0] for row in con.execute("SELECT ref FROM decided JOIN charge USING (ref)").fetchall()}
    finally:
        con.unregister("decided")
    if clashes:
        raise UnsafeError(
            f"{len(clashes)} ledger lines were decided again with another amount or customer, first {clashes[0][0]}",
            "nothing was entered; run the site again, and report this if it comes back",
        )
    new = charges.filter(~pl.col("ref").is_in(list(known)))
    if new.height:
        insert(con, "charge", new.drop("state", "reason"))
        _add_events(
            con,
            new.select("ref", n=pl.lit(0, dtype=pl.Int64), state="state", detail=pl.coalesce("reason", "rule")),
            mover,
        )
    return new.height


def move(con: Connection, moves: pl.DataFrame, state: str, mover: Mover) -> None:
    """Append one event to each of some lines.

    Args:
        con: a connection inside a transaction.
        moves: columns ref, detail and, where Nexudus gave one, remote_id.
        state: the state that all of them move to.
        mover: who moves them.

    Raises:
        UnsafeError: a line is not in the ledger, or may not move to that state from where it is.
    """
    if not moves.height:
        return
    con.register("moving", moves.select("ref"))
    try:
        now = con.sql(
            "SELECT m.ref, max(e.n) AS n, arg_max(e.state, e.n) AS state"
            " FROM moving m LEFT JOIN charge_event e USING (ref) GROUP BY m.ref"
        ).pl()
    finally:
        con.unregister("moving")
    allowed = [source for source, targets in TRANSITIONS.items() if source and state in targets]
    illegal = now.filter(pl.col("state").is_null() | ~pl.col("state").is_in(allowed))
    if illegal.height:
        first = illegal.row(0, named=True)
        raise UnsafeError(
            f"{illegal.height} ledger lines may not become {state}, first {first['ref']}, which is {first['state']}",
            f"nothing was changed; `printbridge explain {first['ref']}` shows its history",
        )
    columns = ["ref", "detail"] + (["remote_id"] if "remote_id" in moves.columns else [])
    events = moves.select(columns).join(now.select("ref", n=pl.col("n") + 1), on="ref")
    _add_events(con, events.with_columns(state=pl.lit(state)), mover)


def orphans(con: Connection, site: str, mover: Mover) -> int:
    """Lines that an ended run left in `sending` become `unknown`. Only for the holder of the site's lock."""
    left = lines_in(con, site, "sending")
    move(con, left.select("ref", "detail"), "unknown", mover)
    return left.height


def _add_events(con: Connection, events: pl.DataFrame, mover: Mover) -> None:
    if "remote_id" not in events.columns:
        events = events.with_columns(remote_id=pl.lit(None, dtype=pl.Int64))
    insert(
        con,
        "charge_event",
        events.with_columns(
            happened_at=pl.lit(mover.at, dtype=pl.Datetime("us", "UTC")),
            run_id=pl.lit(mover.run_id),
            actor=pl.lit(mover.actor),
        ),
    )


def moves_of(rows: list[tuple[str, int | None, str]]) -> pl.DataFrame:
    """A frame of moves from (ref, remote id, detail) rows."""
    schema: dict[str, Any] = {"ref": pl.String, "remote_id": pl.Int64, "detail": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def cancel_unsent(con: Connection, site: str, mover: Mover) -> int:
    """Reversals of lines that never left: the line becomes void, and nothing is left for the reversal to do.

    Returns:
        How many lines were cancelled.
    """
    undo = lines_in(con, site, "priced").filter(pl.col("undoes").is_not_null())
    unsent = lines_in(con, site, "priced", "held").filter((pl.col("state") == "priced") | (pl.col("n") == 0))
    pairs = undo.select("ref", "undoes").join(unsent.select(undoes="ref"), on="undoes")
    _cancel(con, pairs, "the job changed before anything was sent", mover)
    return pairs.height


def take_back(con: Connection, lines: pl.DataFrame, rule: str, mover: Mover, why: str) -> None:
    """Enter the reversals of lines that were never sent, and cancel both (`reversals.taken_back`).

    Args:
        con: a connection inside a transaction.
        lines: lines with their current state: priced, held, or confirmed where they waive.
        rule: why (`reversals.taken_back`).
        mover: who takes them back.
        why: the words for the history.
    """
    back = taken_back(lines, rule)
    enter(con, back, mover)
    _cancel(con, back.filter(state="priced"), why, mover)


def _cancel(con: Connection, reversals: pl.DataFrame, why: str, mover: Mover) -> None:
    """The lines that these reversals (ref, undoes) take back become void; nothing is left for the reversals to do."""
    move(con, reversals.select(ref="undoes", detail=pl.lit(why)), "void", mover)
    move(con, reversals.select("ref", detail=pl.lit(why)), "confirmed", mover)
