"""Lines: the questions about the charge ledger, and what each line is now.

What belongs here: reading lines with their last event. What does not: entering and moving them (`ledger.py`). A line's
state is its last event; the columns of a line are those of PrintCharges with n, happened_at, remote_id and detail.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import TypedDict, cast

import polars as pl

from pipeline.domain import tables
from pipeline.domain.money import reversals
from pipeline.errors import MissingError
from pipeline.store.sql import Connection, query

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


RETRY = "retry"
"""Stands for a run where a person let a line be sent, by the rules and not as it is."""


class Line(TypedDict):
    """A row of `LINES`: what a line says, its last event, and where it is held why."""

    ref: str
    site: str
    job_id: str
    revision: int
    kind: str
    seq: int
    printed_at: datetime
    username: str
    email_key: str | None
    coworker_id: int | None
    credit_id: int | None
    credit_coworker_id: int | None
    product_id: int | None
    amount_cents: int
    undoes: str | None
    rule: str
    state: str
    reason: str | None
    n: int
    happened_at: datetime
    remote_id: int | None
    detail: str


def rows_of(lines: pl.DataFrame) -> list[Line]:
    """The rows of a frame with the columns of `LINES`."""
    return cast("list[Line]", lines.to_dicts())


def lines_of_site(con: Connection, site: str, jobs: pl.DataFrame | None = None) -> pl.DataFrame:
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
SELECT c.ref, c.site, c.job_id, c.revision, c.kind, c.printed_at, c.coworker_id, c.amount_cents, c.undoes, c.rule,
    e.state, e.reason
FROM charge c JOIN (
    SELECT ref, arg_max(state, n) AS state, arg_max(if(state = 'held', detail, ''), n) AS reason
    FROM charge_event WHERE ref IN (SELECT c.ref FROM charge c SEMI JOIN wanted USING (job_id) WHERE c.site = $site)
    GROUP BY ref
) e USING (ref) WHERE c.site = $site
"""


def lines_shown(con: Connection, site: str, jobs: pl.DataFrame) -> pl.DataFrame:
    """The lines of some jobs as `lines_of_site` gives them, in any order, with the columns of a report: less memory."""
    con.register("wanted", jobs.select("job_id"))
    try:
        found = query(con, _SHOWN, site=site)
    finally:
        con.unregister("wanted")
    return found.with_columns(reason=pl.when(state="held").then("reason"))


def lines_of(con: Connection, site: str, jobs: pl.DataFrame, sales: pl.DataFrame) -> pl.DataFrame:
    """The lines of a site that belong to some jobs, or that some sales in Nexudus (column ref) name."""
    named = query(con, "SELECT job_id FROM charge WHERE list_contains($refs, ref)", refs=sales["ref"].to_list())
    return lines_of_site(con, site, pl.concat([jobs.select("job_id"), named]))


def lines_in(con: Connection, site: str, *states: str) -> pl.DataFrame:
    """The lines of a site that are in one of some states."""
    return query(
        con, LINES + " WHERE c.site = $site AND list_contains($states, e.state) ORDER BY c.ref",
        site=site, states=list(states),
    )  # fmt: skip


def sites_of(con: Connection) -> list[str]:
    """The sites that have a line, whether they are in bridge.toml or not."""
    return query(con, "SELECT DISTINCT site FROM charge ORDER BY site")["site"].to_list()


def retried_sales(con: Connection, site: str) -> pl.DataFrame:
    """The sales of a site that a person let be sent again, and no run has sent since; columns as `lines_of_site`."""
    return query(
        con,
        LINES + " SEMI JOIN charge_event r ON r.ref = c.ref AND r.n = e.n AND r.run_id = $retry"
        " WHERE c.site = $site AND c.kind = 'sale' AND e.state = 'priced' ORDER BY c.ref",
        site=site, retry=RETRY,
    )  # fmt: skip


def waiting_lines(con: Connection, site: str) -> pl.DataFrame:
    """The lines of a site that wait for reversals of their job: ref, waits_for (`reversals.waiting`)."""
    pending = lines_in(con, site, "priced", "sending", "unknown", "held").filter(pl.col("undoes").is_not_null())
    return reversals.waiting(lines_of_site(con, site, pending))


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
    return _uses(con, grants).drop_nulls("open_cents").select("credit_id", "open_cents")


def contained_uses(con: Connection, grants: pl.DataFrame) -> pl.DataFrame:
    """Credit use in the ledger, of all sites, that an extract of some credits contains: the other part of `open_uses`.

    Args:
        con: an open connection.
        grants: NexudusCredits.

    Returns:
        credit_id, used_cents (what was used less what was given back), sure: nothing of it is under way, held for a
        person, or written while the extract was read.
    """
    return _uses(con, grants).select("credit_id", "used_cents", "sure").join(grants, on="credit_id", how="semi")


def _uses(con: Connection, grants: pl.DataFrame) -> pl.DataFrame:
    con.register("extract", grants.select("credit_id", "updated_on", "read_at"))
    try:
        return query(con, "WITH whole AS (" + LINES + _USES)
    finally:
        con.unregister("extract")


_USES = """),
line AS (SELECT * FROM whole WHERE kind IN ('credit', 'undo_credit')),
told AS (
    SELECT l.*, used.state AS used_state, CASE WHEN json_valid(l.detail) THEN l.detail END AS answer
    FROM line l LEFT JOIN line used ON used.ref = l.undoes
),
seen AS (
    SELECT *, coalesce(json_extract_string(answer, '$.mode') = 'ledger', false) AS on_ledger,
        read_at >= happened_at AS read_since,
        date_trunc('second', updated_on) >= date_trunc('second',
            CAST(json_extract_string(answer, '$.updated_on') AS TIMESTAMPTZ)) AS changed_since
    FROM told LEFT JOIN extract USING (credit_id)
),
counted AS (
    SELECT credit_id, CASE WHEN kind = 'credit' THEN amount_cents ELSE -amount_cents END AS cents,
        CASE WHEN state IN ('void', 'held') THEN 'nowhere'
             WHEN kind = 'undo_credit' AND (state <> 'confirmed' OR used_state = 'void') THEN 'nowhere'
             WHEN state IN ('priced', 'sending', 'unknown') OR on_ledger THEN 'open'
             WHEN coalesce(changed_since AND read_since, true) THEN 'contained'
             ELSE 'open'
        END AS place,
        CASE WHEN state IN ('sending', 'unknown', 'held') THEN false
             WHEN state = 'confirmed' AND NOT on_ledger
             THEN NOT coalesce(changed_since AND NOT read_since, false)
             ELSE true
        END AS sure
    FROM seen
)
SELECT credit_id, CAST(sum(cents) FILTER (place = 'open') AS BIGINT) AS open_cents,
    CAST(coalesce(sum(cents) FILTER (place = 'contained'), 0) AS BIGINT) AS used_cents,
    bool_and(sure) AS sure
FROM counted GROUP BY credit_id ORDER BY credit_id
"""
"""What each credit was used for in the ledger, and how much of it an extract contains."""


def states_of(charges: pl.DataFrame) -> dict[str, int]:
    """How many lines are in each state, states in the order of `tables.STATES`."""
    counts = dict(charges.group_by("state").len().iter_rows())
    return {state: counts[state] for state in tables.STATES if state in counts}


def one_line(con: Connection, ref: str) -> Line:
    """One line with its state.

    Raises:
        MissingError: there is no such line.
    """
    found = rows_of(query(con, LINES + " WHERE c.ref = $ref", ref=ref))
    if not found:
        raise MissingError(f"The ledger has no line {ref}", "copy the reference from `printbridge held list`")
    [line] = found
    return line


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
    found = con.execute(
        "SELECT ref FROM charge_event e JOIN charge c USING (ref)"
        " WHERE c.site = $site AND c.kind = 'sale' AND (e.state = 'sending' OR e.remote_id IS NOT NULL) LIMIT 1",
        {"site": site},
    )
    return found.fetchone() is not None


def newest_sales(
    con: Connection, site: str, since: datetime, until: datetime, products: Collection[int]
) -> pl.DataFrame:
    """The three newest sales of a site that exist in Nexudus for sure: ref, remote_id.

    When a line was moved says nothing: it may be recovered, confirmed by a person or invoiced long after its sale was
    made. A sale is made after its line was first sent or, where this ledger never sent it, after its job was printed.

    Args:
        con: an open connection.
        site: the site.
        since: made at this time or later, UTC.
        until: known since this time or earlier, UTC; lists lag.
        products: only those made of one of these, or before the product was kept.
    """
    return query(
        con,
        "WITH whole AS (" + LINES + _KNOWN_SALES,
        site=site, since=since, until=until, products=list(products),
    )  # fmt: skip


_KNOWN_SALES = """),
sent AS (SELECT ref, min(happened_at) AS sent_at FROM charge_event WHERE state = 'sending' GROUP BY ref)
SELECT l.ref, l.remote_id FROM whole l LEFT JOIN sent USING (ref)
WHERE l.site = $site AND l.kind = 'sale' AND l.state IN ('confirmed', 'invoiced') AND l.remote_id IS NOT NULL
    AND coalesce(sent_at, l.printed_at) >= $since AND l.happened_at <= $until
    AND coalesce(list_contains($products, l.product_id), true)
ORDER BY coalesce(sent_at, l.printed_at) DESC, l.ref LIMIT 3
"""


def by_hand(con: Connection, refs: list[str]) -> list[str]:
    """Of some lines, those that were confirmed last without a sale being named: a person charged them by hand."""
    found = query(
        con,
        "SELECT ref FROM charge_event WHERE list_contains($refs, ref) AND state = 'confirmed'"
        " QUALIFY n = max(n) OVER (PARTITION BY ref) AND remote_id IS NULL ORDER BY ref",
        refs=refs,
    )
    return found["ref"].to_list()


def deleted_sales(con: Connection, site: str) -> pl.DataFrame:
    """The sale lines of a site that were held after they were done, whatever became of them since; as `LINES`."""
    fallen = query(
        con,
        "SELECT DISTINCT held.ref FROM charge_event held JOIN charge_event done"
        " ON done.ref = held.ref AND done.n = held.n - 1"
        " WHERE held.state = 'held' AND done.state IN ('confirmed', 'invoiced')",
    )
    return query(
        con, LINES + " WHERE c.site = $site AND c.kind = 'sale' AND list_contains($refs, c.ref) ORDER BY c.ref",
        site=site, refs=fallen["ref"].to_list(),
    )  # fmt: skip


def lost_answers(con: Connection, refs: list[str]) -> pl.DataFrame:
    """How often the answer to each of some lines was lost: ref, lost; only where it was."""
    return query(
        con,
        "SELECT ref, count(*) AS lost FROM charge_event WHERE state = 'unknown' AND list_contains($refs, ref)"
        " GROUP BY ref",
        refs=refs,
    )


def knows(con: Connection, ref: str) -> bool:
    """Whether a reference is that of a line of this ledger."""
    return con.execute("SELECT ref FROM charge WHERE ref = $ref", {"ref": ref}).fetchone() is not None


def never_sent(con: Connection, refs: list[str]) -> list[str]:
    """Of some references that Nexudus shows, those that this ledger does not know or knows nothing done for."""
    sent = query(
        con,
        "SELECT DISTINCT ref FROM charge_event WHERE list_contains($refs, ref) AND state NOT IN ('priced', 'void')",
        refs=refs,
    )
    return sorted(set(refs) - set(sent["ref"]))


def products_of(con: Connection, site: str, now: int | None) -> list[int]:
    """The products of which sales of a site were ever made, and the one of now."""
    made = query(
        con, "SELECT DISTINCT product_id FROM charge WHERE site = $site AND product_id IS NOT NULL", site=site
    )["product_id"].to_list()
    return sorted({*made, *([now] if now else [])})


def jobs_of(con: Connection, site: str, *, ref: str | None = None, job_id: str | None = None) -> list[str]:
    """The jobs of a site that have a line of a reference or of an id: their ids."""
    found = query(
        con, "SELECT DISTINCT job_id FROM charge WHERE site = $site AND (ref = $ref OR job_id = $job_id)",
        site=site, ref=ref, job_id=job_id,
    )  # fmt: skip
    return found["job_id"].to_list()
