"""Rows of a report that take pages back where nobody can tell of which print: what they are, and a person's answer.

What belongs here: the question and its answer, with name and reason. What does not: the matches that are sure
(`pipeline.domain.money.returns`), and the refund of a charge, which the next run makes of the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from pipeline.domain.money.returns import divisible
from pipeline.errors import ConfigError, MissingError, UnsafeError
from pipeline.operations.held import LOCK_SECONDS
from pipeline.site import Site, Sites
from pipeline.store import jobs, memory, returns
from pipeline.store.sql import Connection

Row = dict[str, Any]


def waiting(chosen: Sequence[Site]) -> list[Row]:
    """The rows of some sites that wait for a person."""
    shown = ("row_id", "stamped_at", "username", "printer", "pages", "prints", "reason")
    found: list[Row] = []
    for site in chosen:
        with site.store.connect() as con:
            rows = returns.known(con, site.key).filter(state=returns.OPEN).select(shown).to_dicts()
        found += [{"site": site.name, **row} for row in rows]
    return found


def sentences(con: Connection, site: Site) -> list[str]:
    """Each row of a site that waits for a person, in words."""
    return [
        f"Row {row['row_id']} of {row['stamped_at']:%Y-%m-%d %H:%M:%S} UTC takes {row['pages']} pages at"
        f" {row['printer']} back: {row['reason']}{': ' + row['prints'] if row['prints'] else ''}."
        for row in returns.known(con, site.key).filter(state=returns.OPEN).iter_rows(named=True)
    ]


def decide(
    sites: Sites, row_id: str, job_id: str | None, *, reason: str, operator: str, only: str | None = None
) -> Row:
    """Say of which print a row takes pages back, or that it takes nothing back. The next run refunds it.

    Args:
        sites: every site.
        row_id: the row, as `held list` shows it.
        job_id: the print; None: the row takes nothing back, or a person refunded it by hand.
        reason: why, in the words of the operator.
        operator: who decides.
        only: the site, where several have such a row.

    Returns:
        The row as it was.

    Raises:
        ConfigError: several sites have such a row.
        MissingError: no site has one, or it has no such print.
        UnsafeError: the row is settled, or the print cannot be the one.
        TransientError: a run held the site for too long.
    """
    site = _place([sites[only]] if only else list(sites), row_id)
    with ExitStack() as locks:
        locks.enter_context(sites.hold(site.key, wait_seconds=LOCK_SECONDS))

        def change(con: Connection) -> Row:
            row = returns.known(con, site.key).filter(row_id=row_id).row(0, named=True)
            _check(con, site, row, job_id)
            at = sites.clock()
            returns.decide(con, site.key, row_id, job_id, operator=operator, reason=reason, at=at)
            memory.note(con, site.key, memory.WAKE, at.isoformat(), at)  # so that the next look finds work
            return row

        return sites.store.commit(change)


def _place(chosen: Sequence[Site], row_id: str) -> Site:
    having: list[Site] = []
    for site in chosen:
        with site.store.connect() as con:
            if returns.known(con, site.key).filter(row_id=row_id).height:
                having.append(site)
    names = ", ".join(site.name for site in having or chosen)
    if not having:
        raise MissingError(f"No row {row_id} takes pages back at {names}", "copy the row from `printbridge held list`")
    if len(having) > 1:
        raise ConfigError(f"The sites {names} each have a row {row_id}", "add --site with the one that is meant")
    return having[0]


def _check(con: Connection, site: Site, row: Row, job_id: str | None) -> None:
    """Refuse a second answer, and a print of somebody else, of too few pages, or of pages of two prices."""
    if row["state"] != returns.OPEN:
        what = f"took pages of job {row['job_id']} back" if row["job_id"] else "takes nothing back"
        raise UnsafeError(
            f"Row {row['row_id']} is decided: it {what}; nothing was changed",
            "what a refund must still change, change in Nexudus by hand",
        )
    if job_id is None:
        return
    found = jobs.named(con, site.key, [job_id])
    if found.is_empty():
        raise MissingError(f"No job {job_id} is in the log of {site.name}", "copy the job from `printbridge held list`")
    job = found.row(0, named=True)
    gone = int(returns.taken(con, site.key).filter(job_id=job_id)["pages"].sum())
    if (
        job["username"] != row["username"]
        or job["pages"] - gone < row["pages"]
        or not divisible(job["pages"], job["color_pages"], row["pages"])
    ):
        raise UnsafeError(
            f"Row {row['row_id']} cannot take {row['pages']} pages of job {job_id} back: that is of another user, has"
            " fewer pages left, or has pages of two prices; nothing was changed",
            "name another print; or refund it in Nexudus by hand and say --nothing",
        )
