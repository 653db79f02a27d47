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


def printed(con: Connection, site: str, since: datetime) -> pl.DataFrame:
    """Every revision of the jobs printed at `since` or later, with the columns that pictures of many days need."""
    return query(
        con,
        "SELECT site, job_id, revision, printed_at, pages, cost, allowed, refunded, printed, job_type"
        " FROM print_jobs WHERE site = $site AND printed_at >= $since",
        site=site, since=since,
    )  # fmt: skip


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
