"""Identify: a site is what it was, or it is refused before anything is read.

What belongs here: recognising a site by its servers, and keeping what it is now. What does not: renaming and
renumbering it on purpose (`pipeline.operations.site`).
"""

from __future__ import annotations

from dataclasses import replace

from pipeline.errors import UnsafeError
from pipeline.site import Site
from pipeline.store import sites as book
from pipeline.store.sql import Connection


def identify(site: Site) -> None:
    """Keep what a site is, once no other site is known to be the same.

    A print job is charged once, whatever its site is called: two sites on one server or one database, or an old one
    under a new name, would charge it twice.

    Raises:
        UnsafeError: another site, of bridge.toml or of former times, has the same server or database.
    """

    def change(con: Connection) -> book.Record:
        known = book.records(con)
        now = site.present()
        for other in known.values():
            if other.key != now.key and (other.server == now.server or other.source == now.source):
                raise _same(site, other)
        code = known[now.key].code if now.key in known else book.free_code(known, now.key)
        kept = replace(now, code=code)
        book.record(con, kept, site.clock(), "seen by a run")
        return kept

    kept = site.store.commit(change)
    if kept != site.record:
        site.remember(kept)


def _same(site: Site, other: book.Record) -> UnsafeError:
    what = "print server" if other.server == site.present().server else "source of print jobs"
    if other.name in site.sites.names:
        return UnsafeError(
            f"The sites {site.name} and {other.name} of bridge.toml have the same {what}: each job would be charged"
            " twice; nothing was read",
            "keep one of the two sections in bridge.toml",
        )
    return UnsafeError(
        f"Site {site.name} has the {what} of site {other.name}, which is not in bridge.toml any more: under the new"
        " name its jobs would be charged again; nothing was read",
        f"if it was renamed, run `printbridge site rename {other.name} {site.name}`; if not, correct the address",
    )
