"""The charge ledger: what was decided for each job, and what became of it in Nexudus.

What belongs here: the states of a line, who may move it, and the append-only tables that hold both. What does not:
deciding what a job costs (`domain/charges.py`) and talking to Nexudus (`assets/load.py`). Every function works inside
the caller's transaction, so that what is decided together is stored together.

    priced ──> sending ──> confirmed ──> invoiced        held, void: a person's or a rule's last word, for now
      ^           ├──────> unknown ──> looked up after the settle time
      └───────────┴── definitely not done
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from pipeline.domain import schemas
from pipeline.errors import MissingError, UnsafeError
from pipeline.warehouse import Connection, insert, query

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

OPEN_STATES = ("priced", "sending", "unknown", "held")
"""States in which something still has to happen."""


@dataclass(frozen=True)
class Mover:
    """Who moves a line: the run, a name for the part of the program or the person, and when (UTC)."""

    run_id: str
    actor: str
    at: datetime


LINES = """
SELECT c.*, e.state, CASE WHEN e.state = 'held' THEN e.detail END AS reason, e.n, e.happened_at, e.remote_id, e.detail
FROM charge c JOIN (
    SELECT ref, max(n) AS n, arg_max(state, n) AS state, arg_max(happened_at, n) AS happened_at,
           max(remote_id) AS remote_id, arg_max(detail, n) AS detail
    FROM charge_event GROUP BY ref
) e USING (ref)
"""
"""Every line with its last event; the remote id is the one Nexudus gave, whatever happened later."""

# The same for the lines of some jobs: the events of all others are left out before they are grouped.
_LINES_OF_WANTED = LINES.replace(
    "FROM charge_event",
    "FROM charge_event WHERE ref IN"
    " (SELECT c.ref FROM charge c SEMI JOIN wanted w ON w.job_id = c.job_id WHERE c.site = $site)",
)


def lines(con: Connection, site: str, jobs: pl.DataFrame | None = None) -> pl.DataFrame:
    """The lines of a site with their state.

    Args:
        con: an open connection.
        site: the site.
        jobs: a frame with job_id, to get only the lines of these jobs.

    Returns:
        The columns of PrintCharges (state is one of STATES) and n, happened_at, remote_id, detail.
    """
    if jobs is None:
        return query(con, LINES + " WHERE c.site = $site ORDER BY c.ref", site=site)
    con.register("wanted", jobs.select("job_id"))
    try:
        return query(
            con,
            _LINES_OF_WANTED + " SEMI JOIN wanted w ON w.job_id = c.job_id WHERE c.site = $site ORDER BY c.ref",
            site=site,
        )
    finally:
        con.unregister("wanted")


_SHOWN = """
SELECT c.ref, c.site, c.job_id, c.kind, c.printed_at, c.coworker_id, c.amount_cents, c.undoes, c.rule, e.state, e.reason
FROM charge c JOIN (
    SELECT ref, arg_max(state, n) AS state, arg_max(if(state = 'held', detail, ''), n) AS reason
    FROM charge_event WHERE ref IN (SELECT c.ref FROM charge c SEMI JOIN wanted USING (job_id) WHERE c.site = $site)
    GROUP BY ref
) e USING (ref) WHERE c.site = $site
"""


def lines_shown(con: Connection, site: str, jobs: pl.DataFrame) -> pl.DataFrame:
    """The lines of some jobs as `lines` gives them, in any order, with the columns of a report: less memory."""
    con.register("wanted", jobs.select("job_id"))
    try:
        found = query(con, _SHOWN, site=site)
    finally:
        con.unregister("wanted")
    return found.with_columns(reason=pl.when(state="held").then("reason"))


def lines_of(con: Connection, site: str, jobs: pl.DataFrame, sales: pl.DataFrame) -> pl.DataFrame:
    """The lines of a site that belong to some jobs, or that some sales in Nexudus (column ref) name."""
    named = query(
        con, "SELECT DISTINCT job_id FROM charge WHERE list_contains($refs, ref)", refs=sales["ref"].to_list()
    )
    return lines(con, site, pl.concat([jobs.select("job_id"), named]).unique())


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


def lines_in(con: Connection, site: str, *states: str) -> pl.DataFrame:
    """The lines of a site that are in one of some states."""
    return query(
        con, LINES + " WHERE c.site = $site AND list_contains($states, e.state) ORDER BY c.ref",
        site=site, states=list(states),
    )  # fmt: skip


def history(con: Connection, ref: str) -> pl.DataFrame:
    """All events of one line, oldest first."""
    return query(con, "SELECT * FROM charge_event WHERE ref = $ref ORDER BY n", ref=ref)


def unanswered_credits(con: Connection) -> list[int]:
    """The credits, of all sites, for which a write has no known outcome: nothing else is written to them."""
    open_ = query(con, LINES + " WHERE c.credit_id IS NOT NULL AND e.state IN ('sending', 'unknown')")
    return open_["credit_id"].unique().to_list()


def open_uses(con: Connection, grants: pl.DataFrame) -> pl.DataFrame:
    """Credit use in the ledger, of all sites, that an extract of the credits does not contain yet.

    A use counts as contained once Nexudus confirmed it and the credit's row was changed no earlier and read no earlier
    than that (the server's time against the server's, ours against ours, so that a lagging list is not believed). What
    reverses a void use gives nothing back. A line that a person confirmed has words for a detail, not an answer.

    Args:
        con: an open connection.
        grants: NexudusCredits.

    Returns:
        credit_id, open_cents (may be negative where a use was given back and the extract does not show it yet).
    """
    con.register("extract", grants.select("credit_id", "updated_on", "read_at"))
    try:
        return query(
            con,
            f"""
            WITH line AS (SELECT * FROM ({LINES}) WHERE kind IN ('credit', 'undo_credit')),
            told AS (
                SELECT l.*, used.state AS used_state, CASE WHEN json_valid(l.detail) THEN l.detail END AS answer
                FROM line l LEFT JOIN line used ON used.ref = l.undoes
            ),
            counted AS (
                SELECT credit_id, kind, amount_cents,
                    CASE WHEN state IN ('void', 'held') THEN false
                         WHEN kind = 'undo_credit' AND (state <> 'confirmed' OR used_state = 'void') THEN false
                         WHEN state IN ('priced', 'sending', 'unknown') THEN true
                         WHEN json_extract_string(answer, '$.mode') = 'ledger' THEN true
                         ELSE NOT coalesce(
                            date_trunc('second', updated_on) >= date_trunc('second',
                                CAST(json_extract_string(answer, '$.updated_on') AS TIMESTAMPTZ))
                            AND read_at >= happened_at, true)
                    END AS is_open
                FROM told LEFT JOIN extract USING (credit_id)
            )
            SELECT credit_id, CAST(sum(CASE WHEN kind = 'credit' THEN amount_cents ELSE -amount_cents END) AS BIGINT)
                AS open_cents
            FROM counted WHERE is_open GROUP BY credit_id ORDER BY credit_id
            """,  # noqa: S608 - the text is this module's own
        )
    finally:
        con.unregister("extract")


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


def states_of(charges: pl.DataFrame) -> dict[str, int]:
    """How many lines are in each state, states in the order of `schemas.STATES`."""
    counts = dict(charges.group_by("state").len().iter_rows())
    return {state: counts[state] for state in schemas.STATES if state in counts}


def line(con: Connection, ref: str) -> dict[str, Any]:
    """One line with its state, as a mapping.

    Raises:
        MissingError: there is no such line.
    """
    found = query(con, LINES + " WHERE c.ref = $ref", ref=ref)
    if not found.height:
        raise MissingError(f"The ledger has no line {ref}", "copy the reference from `printbridge held list`")
    return found.row(0, named=True)


def moved_by(con: Connection, run_id: str) -> pl.DataFrame:
    """Where a run left the lines that it moved: kind, state, lines (how many), cents."""
    return query(
        con,
        "WITH moved AS (SELECT ref, arg_max(state, n) AS state FROM charge_event WHERE run_id = $run_id GROUP BY ref)"
        " SELECT kind, state, count(*) AS lines, CAST(sum(amount_cents) AS BIGINT) AS cents"
        " FROM moved JOIN charge USING (ref) GROUP BY kind, state ORDER BY kind, state",
        run_id=run_id,
    )


def has_sent(con: Connection, site: str) -> bool:
    """Whether any sale of the site ever left this ledger or was taken over into it."""
    row = con.execute(
        "SELECT count(*) FROM charge_event e JOIN charge c USING (ref)"
        " WHERE c.site = $site AND c.kind = 'sale' AND (e.state = 'sending' OR e.remote_id IS NOT NULL)",
        {"site": site},
    ).fetchone()
    return bool(row and row[0])


def newest_sales(con: Connection, site: str, since: datetime, until: datetime) -> pl.DataFrame:
    """The three newest sales of a site that exist in Nexudus for sure: ref, remote_id.

    When a line was moved says nothing: it may be recovered, confirmed by a person or invoiced long after its sale was
    made. A sale is made after its line was first sent or, where this ledger never sent it, after its job was printed.

    Args:
        con: an open connection.
        site: the site.
        since: made at this time or later, UTC.
        until: known since this time or earlier, UTC; lists lag.
    """
    return query(
        con,
        f"""
        WITH sent AS (SELECT ref, min(happened_at) AS sent_at FROM charge_event WHERE state = 'sending' GROUP BY ref)
        SELECT l.ref, l.remote_id FROM ({LINES}) l LEFT JOIN sent USING (ref)
        WHERE l.site = $site AND l.kind = 'sale' AND l.state IN ('confirmed', 'invoiced') AND l.remote_id IS NOT NULL
            AND coalesce(sent_at, l.printed_at) >= $since AND l.happened_at <= $until
        ORDER BY coalesce(sent_at, l.printed_at) DESC, l.ref LIMIT 3
        """,  # noqa: S608 - the text is this module's own
        site=site, since=since, until=until,
    )  # fmt: skip


def never_sent(con: Connection, refs: list[str]) -> list[str]:
    """Of some references that Nexudus shows, those that this ledger does not know or knows nothing done for."""
    sent = query(
        con,
        "SELECT DISTINCT ref FROM charge_event WHERE list_contains($refs, ref) AND state NOT IN ('priced', 'void')",
        refs=refs,
    )
    return sorted(set(refs) - set(sent["ref"]))


def cancel_unsent(con: Connection, site: str, mover: Mover) -> int:
    """Reversals of lines that never left: the line becomes void, and nothing is left for the reversal to do.

    Returns:
        How many lines were cancelled.
    """
    undo = lines_in(con, site, "priced").filter(pl.col("undoes").is_not_null())
    unsent = lines_in(con, site, "priced", "held").filter(
        pl.col("undoes").is_null() & ((pl.col("state") == "priced") | (pl.col("n") == 0))
    )
    pairs = undo.select("ref", "undoes").join(unsent.select(undoes="ref"), on="undoes")
    detail = pl.lit("the job changed before anything was sent")
    move(con, pairs.select(ref="undoes", detail=detail), "void", mover)
    move(con, pairs.select("ref", detail=detail), "confirmed", mover)
    return pairs.height
