"""The sites that were ever at work: what is kept of each under a key that never changes, whatever the site is called.

What belongs here: the append-only record of a site's name, its code in references, the servers behind it, and how
often the numbers of its jobs began anew. What does not: what a site is told to do (`pipeline.settings`).

A reference names its site for ever, and so does every row of this store: by the key, which is the first name that the
site had. Renaming appends a row, and changes none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from pipeline.domain.money.references import site_code
from pipeline.errors import ConfigError
from pipeline.store.sql import Connection


@dataclass(frozen=True)
class Record:
    """What is kept of one site.

    Attributes:
        key: what it is called in every row and in its locks; its first name.
        name: what it is called in bridge.toml.
        code: its three characters in references; no other site has them.
        epoch: how often the numbers of its print jobs began anew, because its database was replaced or restored.
        business_id: its Nexudus location.
        server: the address of its print server.
        source: where its print jobs are read, without secrets.
    """

    key: str
    name: str
    code: str
    epoch: int
    business_id: int
    server: str
    source: str


def records(con: Connection) -> dict[str, Record]:
    """Every site that was ever at work, by its key."""
    rows = con.execute(
        "SELECT site, name, code, epoch, business_id, server, source FROM site_event"
        " QUALIFY n = max(n) OVER (PARTITION BY site) ORDER BY site"
    ).fetchall()
    return {row[0]: Record(*row) for row in rows}


def record(con: Connection, site: Record, at: datetime, reason: str) -> None:
    """Append what is known of a site now inside a transaction, unless it is known already."""
    if records(con).get(site.key) == site:
        return
    con.execute(
        "INSERT INTO site_event SELECT $site, coalesce(max(n) + 1, 0), $name, $code, $epoch, $business, $server,"
        " $source, $at, $reason FROM site_event WHERE site = $site",
        {
            "site": site.key, "name": site.name, "code": site.code, "epoch": site.epoch, "business": site.business_id,
            "server": site.server, "source": site.source, "at": at, "reason": reason,
        },
    )  # fmt: skip


def free_code(known: dict[str, Record], key: str) -> str:
    """The code that a new site gets: that of its key, or the next one that no other site has.

    Raises:
        ConfigError: every code is taken.
    """
    taken = {each.code for each in known.values() if each.key != key}
    codes = (site_code(key if not turn else f"{key} {turn}") for turn in range(100_000))
    free = next((code for code in codes if code not in taken), None)
    if free is None:
        raise ConfigError(f"All {len(taken)} codes for sites are taken; {key} gets none", "report this")
    return free


def renamed(site: Record, name: str) -> Record:
    """The same site under another name in bridge.toml."""
    return replace(site, name=name)


def renumbered(site: Record) -> Record:
    """The same site, the numbers of whose print jobs have begun anew."""
    return replace(site, epoch=site.epoch + 1)
