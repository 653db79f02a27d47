"""History: who had which access, whose credits were shared, by which rules a site went, from when on; only appended.

What belongs here: appending what is new, and giving it back as the domain takes it. What does not: what is new
(`pipeline.domain.money.history`), and what follows for a job.
"""

from __future__ import annotations

import json
from datetime import datetime

import polars as pl

from pipeline.domain.money.history import TIME, Past, Rules
from pipeline.store.sql import Connection, insert, query


def access(con: Connection, site: str) -> pl.DataFrame:
    """Every change of access at a site: `history.ACCESS`."""
    return query(
        con, "SELECT email_key, held_from, coworker_id, free, pay FROM access_event WHERE site = $site", site=site
    )


def sharing(con: Connection, site: str) -> pl.DataFrame:
    """Every change of whose credits a customer may use beside its own, as a site saw it: `history.SHARING`."""
    return query(con, "SELECT coworker_id, held_from, payers FROM sharing_event WHERE site = $site", site=site)


def past(con: Connection, site: str) -> Past:
    """What is known of former times at a site."""
    rows = con.execute(
        "SELECT held_from, rules FROM rules_event WHERE site = $site ORDER BY n", {"site": site}
    ).fetchall()
    return Past(access(con, site), tuple((at, json.loads(text)) for at, text in rows), sharing(con, site))


def record_access(con: Connection, site: str, news: pl.DataFrame, at: datetime) -> None:
    """Append changes of access (`history.ACCESS`) inside a transaction."""
    if news.is_empty():
        return
    last = query(con, "SELECT email_key, max(n) AS last FROM access_event WHERE site = $site GROUP BY ALL", site=site)
    insert(con, "access_event", _numbered(news, last, site, at))


def record_sharing(con: Connection, site: str, news: pl.DataFrame, at: datetime) -> None:
    """Append changes of whose credits are shared (`history.SHARING`) inside a transaction."""
    if news.is_empty():
        return
    last = query(con, "SELECT coworker_id, max(n) AS last FROM sharing_event WHERE site = $site GROUP BY 1", site=site)
    insert(con, "sharing_event", _numbered(news, last, site, at))


def _numbered(news: pl.DataFrame, last: pl.DataFrame, site: str, at: datetime) -> pl.DataFrame:
    """Changes with the number after the last one of the same key, which is the first column of `last`."""
    rows = news.join(last, on=last.columns[0], how="left").with_columns(
        n=pl.col("last").fill_null(-1) + 1, site=pl.lit(site), recorded_at=pl.lit(at, TIME)
    )
    return rows.drop("last")


def record_rules(con: Connection, site: str, rules: Rules, at: datetime) -> None:
    """Append the choices of a site inside a transaction, unless they are those that hold already."""
    last = con.execute(
        "SELECT n, rules FROM rules_event WHERE site = $site ORDER BY n DESC LIMIT 1", {"site": site}
    ).fetchone()
    if last is None or json.loads(last[1]) != rules:
        n = last[0] + 1 if last else 0
        con.execute("INSERT INTO rules_event VALUES (?, ?, ?, ?)", [site, n, json.dumps(rules), at])
