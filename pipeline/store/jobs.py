"""Print jobs as they are kept: every revision of every row that a source ever gave.

What belongs here: appending revisions, and the questions about stored jobs. What does not: telling a changed row from
one that was read again (`pipeline.domain.jobs`), and what a job costs.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from datetime import datetime
from itertools import pairwise

import polars as pl

from pipeline.domain import tables
from pipeline.domain.jobs import latest
from pipeline.store.lines import lines_shown
from pipeline.store.sql import Connection, insert, query

PART = 100_000
"""How many jobs of a month are taken at a time: more cost memory, fewer cost time, as each part asks the ledger."""


def known(
    con: Connection, site: str, jobs: pl.DataFrame, *, by_time: bool, prefixes: Sequence[str] = ()
) -> pl.DataFrame:
    """The stored jobs that the jobs of a read may be: PrintJobs, the latest revision of each.

    Args:
        con: an open connection.
        site: the site.
        jobs: job_id, printed_at.
        prefixes: what may stand before an id in its stored name.
        by_time: whether a print is found again by its minute, and not by its id alone.
    """
    jobs = pl.concat([jobs, *(jobs.with_columns(job_id=letter + pl.col("job_id")) for letter in prefixes)])
    con.register("batch", jobs.select("job_id", minute=pl.col("printed_at").dt.truncate("1m")))
    try:
        return query(con, _KNOWN_BY_TIME if by_time else _KNOWN, site=site)
    finally:
        con.unregister("batch")


_KNOWN = """
SELECT p.* FROM print_jobs p SEMI JOIN batch USING (job_id) WHERE site = $site
QUALIFY revision = max(revision) OVER (PARTITION BY job_id)
"""
_KNOWN_BY_TIME = """
SELECT * FROM print_jobs WHERE site = $site AND (job_id IN (SELECT job_id FROM batch)
    OR date_trunc('minute', printed_at) IN (SELECT minute FROM batch))
QUALIFY revision = max(revision) OVER (PARTITION BY job_id)
"""


def unpriced(con: Connection, site: str) -> pl.DataFrame:
    """The jobs of a site that have no cost yet: PrintJobs, the latest revision of each."""
    return query(
        con,
        "SELECT * FROM print_jobs WHERE site = $site AND job_id IN"
        " (SELECT job_id FROM print_jobs WHERE site = $site AND cost IS NULL)"
        " QUALIFY revision = max(revision) OVER (PARTITION BY job_id) AND cost IS NULL",
        site=site,
    )


def named(con: Connection, site: str, job_ids: Collection[str]) -> pl.DataFrame:
    """Some jobs of a site by id: PrintJobs, the latest revision of each."""
    return latest(
        query(
            con, "SELECT * FROM print_jobs WHERE site = $site AND list_contains($ids, job_id)",
            site=site, ids=list(job_ids),
        )
    )  # fmt: skip


def append(con: Connection, news: pl.DataFrame) -> pl.DataFrame:
    """Append new revisions (PrintJobs) inside a transaction, and give them back."""
    news = tables.checked("print_jobs", news)
    insert(con, "print_jobs", news)
    return news


def recent(con: Connection, site: str, since: datetime) -> pl.DataFrame:
    """The latest revision of every job printed or first seen at `since` or later: PrintJobs."""
    return latest(
        query(
            con, "SELECT * FROM print_jobs WHERE site = $site AND (printed_at >= $since OR first_seen_at >= $since)",
            site=site, since=since,
        )
    )  # fmt: skip


def concerning(con: Connection, site: str, since: datetime, names: pl.DataFrame) -> pl.DataFrame:
    """Of `recent`, the jobs that may be ours: of a name that is or was, with ledger lines, or decided by a person.

    A print system may log a hundred times as many jobs of people who are not ours, and they cost a run nothing.

    Args:
        con: an open connection.
        site: the site.
        since: from when on, UTC.
        names: username, as of `pipeline.store.ownership.names`.
    """
    con.register("ours", names.select("username").unique())
    try:
        return latest(query(con, _CONCERNING, site=site, since=since))
    finally:
        con.unregister("ours")


_CONCERNING = """
WITH wanted AS (
    SELECT job_id FROM print_jobs WHERE site = $site AND username IN (SELECT username FROM ours)
    UNION SELECT job_id FROM charge WHERE site = $site
    UNION SELECT job_id FROM assignment_event WHERE site = $site
)
SELECT * FROM print_jobs
WHERE site = $site AND (printed_at >= $since OR first_seen_at >= $since) AND job_id IN (SELECT job_id FROM wanted)
"""
_COUNTING = """
WITH later AS (
    SELECT job_id, max(revision) AS newest FROM print_jobs WHERE site = $site AND revision > 0 GROUP BY job_id
),
newest AS (
    SELECT * FROM print_jobs WHERE site = $site AND revision = 0 AND job_id NOT IN (SELECT job_id FROM later)
    UNION ALL BY NAME
    SELECT job.* FROM print_jobs AS job JOIN later ON job.job_id = later.job_id AND job.revision = later.newest
    WHERE site = $site
),
counting AS (
    SELECT * FROM newest WHERE (printed_at >= $since OR first_seen_at >= $since)
        AND allowed AND NOT refunded AND (printed OR job_type <> 'PRINT')
)
"""
"""The chargeable jobs (`pipeline.domain.money.attribution.counts`), the latest revision of each. Few have a second."""


def ownerless(
    con: Connection, site: str, since: datetime, names: pl.DataFrame, times: pl.DataFrame, *, examples: int
) -> pl.DataFrame:
    """How many jobs nobody is charged for, as `pipeline.domain.money.attribution.unattributed` finds them.

    Args:
        con: an open connection.
        site: the site.
        since: from when on, UTC.
        names: username, as of `pipeline.store.ownership.names`.
        times: since, until, as of `pipeline.domain.money.history.charged_times`.
        examples: how many jobs to name of each kind.

    Returns:
        why ("never ours" or "shared account"), jobs, cost, first (structs of job_id, printed_at, printer, cost: the
        first of them); by why.
    """
    con.register("ours", names.select("username").unique())
    con.register("times", times)
    try:
        return query(con, _COUNTING + _CHARGED + _OWNERLESS, site=site, since=since, examples=examples)
    finally:
        con.unregister("times")
        con.unregister("ours")


_CHARGED = """,
charged AS (
    SELECT *, (printed_at, job_id) AS place FROM counting
    WHERE EXISTS (FROM times WHERE printed_at >= times.since AND printed_at < coalesce(times.until, 'infinity'))
)
"""
"""Of these, the jobs of the times in which the site charged."""

_OWNERLESS = """,
nobodys AS (
    SELECT {job_id: job_id, printed_at: printed_at, printer: printer, cost: cost} AS job, cost, place,
        CASE WHEN shared_account THEN 'shared account' ELSE 'never ours' END AS why
    FROM charged
    WHERE (shared_account OR username NOT IN (SELECT username FROM ours))
        AND job_id NOT IN (SELECT job_id FROM assignment_event WHERE site = $site)
)
SELECT why, count(*) AS jobs, coalesce(sum(cost), 0) AS cost, min_by(job, place, $examples) AS first
FROM nobodys GROUP BY why ORDER BY why
"""


def free_printers(con: Connection, site: str, since: datetime, times: pl.DataFrame, *, in_a_row: int) -> pl.DataFrame:
    """The printers of which the last jobs cost nothing: so many in a row, or every one since then.

    Args:
        con: an open connection.
        site: the site.
        since: from when on, UTC.
        times: as for `ownerless`.
        in_a_row: how many.

    Returns:
        printer, jobs (how many in a row), since (the first of them, UTC), job_id (the last of them); by printer.
    """
    con.register("times", times)
    try:
        return query(con, _COUNTING + _CHARGED + _FREE_PRINTERS, site=site, since=since, in_a_row=in_a_row)
    finally:
        con.unregister("times")


_FREE_PRINTERS = """,
lately AS (
    SELECT printer, printed_at, job_id, cost, place FROM charged
    WHERE printed_at >= $since AND job_type IN ('PRINT', 'COPY') AND pages > 0
),
paid AS (SELECT printer, max(place) AS last FROM lately WHERE cost IS DISTINCT FROM 0 GROUP BY printer)
SELECT printer, count(*) AS jobs, min(printed_at) AS since, max_by(job_id, place) AS job_id
FROM lately LEFT JOIN paid USING (printer) WHERE last IS NULL OR place > last
GROUP BY printer HAVING count(*) >= $in_a_row OR bool_and(last IS NULL) ORDER BY printer
"""


def printed(con: Connection, site: str, since: datetime) -> pl.DataFrame:
    """What was printed at `since` or later and counts: printed_at (quarters of an hour), pages, cost.

    Every time zone begins its days at a quarter.
    """
    return query(con, _COUNTING + _BY_QUARTER, site=site, since=since)


_BY_QUARTER = """
SELECT time_bucket(INTERVAL 15 MINUTE, printed_at) AS printed_at, CAST(sum(pages) AS BIGINT) AS pages,
    sum(cost) AS cost
FROM counting GROUP BY ALL ORDER BY ALL
"""


def every(con: Connection, site: str) -> pl.DataFrame:
    """The latest revision of every job of a site: PrintJobs."""
    return latest(query(con, "SELECT * FROM print_jobs WHERE site = $site", site=site))


def between(con: Connection, site: str, start: datetime, end: datetime) -> pl.DataFrame:
    """The latest revision of every job of which some revision was printed from `start` to before `end`: PrintJobs."""
    return latest(
        query(
            con,
            "SELECT * FROM print_jobs WHERE site = $site AND job_id IN"
            " (SELECT job_id FROM print_jobs WHERE site = $site AND printed_at >= $start AND printed_at < $end)",
            site=site, start=start, end=end,
        )
    )  # fmt: skip


def changed(con: Connection, site: str, since: datetime) -> pl.DataFrame:
    """When the jobs were printed of which a revision was first seen, or a ledger line moved, since then: printed_at."""
    return query(
        con,
        "SELECT printed_at FROM print_jobs WHERE site = $site AND first_seen_at >= $since UNION"
        " SELECT printed_at FROM charge JOIN charge_event USING (ref) WHERE site = $site AND happened_at >= $since",
        site=site, since=since,
    )  # fmt: skip


def changed_since(con: Connection, site: str, since: datetime) -> pl.DataFrame:
    """Every revision of each job of which one was first seen at `since` or later: PrintJobs."""
    return query(
        con,
        "SELECT * FROM print_jobs WHERE site = $site AND job_id IN"
        " (SELECT job_id FROM print_jobs WHERE site = $site AND first_seen_at >= $since)",
        site=site, since=since,
    )  # fmt: skip


def users_to_observe(con: Connection, site: str) -> set[str]:
    """Print users that were written to, or of whom a job was first seen, after they were last observed."""
    rows = con.execute(
        "SELECT s.username FROM print_user_sync s LEFT JOIN print_users u USING (site, username)"
        " WHERE s.site = $site AND (u.observed_at IS NULL OR s.happened_at >= u.observed_at)"
        " UNION SELECT j.username FROM print_jobs j JOIN print_users u USING (site, username)"
        " WHERE j.site = $site AND j.first_seen_at >= u.observed_at",
        {"site": site},
    ).fetchall()
    return {row[0] for row in rows}


_OF_MONTH = "FROM print_jobs WHERE site = $site AND printed_at >= $start AND printed_at < $end"


def parts(
    con: Connection, site: str, start: datetime, end: datetime
) -> Generator[tuple[pl.DataFrame, pl.DataFrame], None, None]:
    """The jobs of a time, the latest revision of each, and their ledger lines, `PART` at a time, in order of time.

    What is latest is decided over the whole time, so that no job stands in two parts.
    """
    times = query(con, f"SELECT printed_at {_OF_MONTH} ORDER BY ALL", site=site, start=start, end=end)
    newest = query(
        con, f"SELECT job_id, max(revision) AS newest {_OF_MONTH} AND revision > 0 GROUP BY ALL",
        site=site, start=start, end=end,
    )  # fmt: skip
    later = times["printed_at"].gather_every(PART, PART).unique(maintain_order=True).to_list()
    for since, until in pairwise([start, *later, end]):
        jobs = query(con, f"SELECT * {_OF_MONTH}", site=site, start=since, end=until)
        jobs = jobs.join(newest, on="job_id", how="left").filter(pl.col("revision") == pl.col("newest").fill_null(0))
        yield jobs.drop("newest"), lines_shown(con, site, jobs)


def revisions(con: Connection, site: str, job_id: str) -> pl.DataFrame:
    """Every revision of one job, the first one first: PrintJobs."""
    return query(
        con, "SELECT * FROM print_jobs WHERE site = $site AND job_id = $job_id ORDER BY revision",
        site=site, job_id=job_id,
    )  # fmt: skip


def padded(con: Connection, site: str, wanted: Collection[str]) -> list[str]:
    """Of some ids as they stand in a reference, filled up with zeros, those of which the log has the job."""
    rows = con.execute(
        "SELECT DISTINCT lpad(job_id, 11, '0') FROM print_jobs WHERE site = $site"
        " AND list_contains($wanted, lpad(job_id, 11, '0'))",
        {"site": site, "wanted": list(wanted)},
    ).fetchall()
    return [row[0] for row in rows]


def of_users(con: Connection, site: str, usernames: Collection[str]) -> pl.DataFrame:
    """The latest revision of every job of some users: PrintJobs."""
    return latest(
        query(
            con, "SELECT * FROM print_jobs WHERE site = $site AND list_contains($names, username)",
            site=site, names=list(usernames),
        )
    )  # fmt: skip
