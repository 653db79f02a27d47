"""Sites on purpose: one that gets another name in bridge.toml, and one whose print jobs are numbered anew.

What belongs here: the two changes, and what must hold for them. What does not: recognising a site (`pipeline.steps`).
"""

from __future__ import annotations

from pipeline.errors import ConfigError, UnsafeError
from pipeline.site import Site, Sites
from pipeline.store import memory
from pipeline.store import sites as book
from pipeline.store.lines import lines_of_site
from pipeline.store.sql import Connection


def rename(sites: Sites, old: str, new: str, operator: str) -> None:
    """Let a site that is in bridge.toml under a new name be the one it was.

    Raises:
        ConfigError: no site of the old name was ever at work, or bridge.toml does not have the new one alone.
        UnsafeError: a site of the new name has charges of its own.
    """
    if new not in sites.names or old in sites.names:
        raise ConfigError(
            f"bridge.toml must have a section [sites.{new}] and none [sites.{old}]",
            "rename the section in bridge.toml first, then run this",
        )

    def change(con: Connection) -> None:
        known = {each.name: each for each in book.records(con).values()}
        if old not in known:
            raise ConfigError(f"No site {old} was ever at work here", f"use one of: {', '.join(sorted(known))}")
        if new in known and lines_of_site(con, known[new].key).height:
            raise UnsafeError(
                f"Site {new} has charges of its own, so {old} cannot become it", "choose another name for the section"
            )
        book.record(con, book.renamed(known[old], new), sites.clock(), f"renamed by {operator}")

    sites.store.commit(change)
    sites.forget()


def renumber(site: Site, operator: str) -> None:
    """Let the print jobs of a site have names of their own from now on, where PaperCut uses numbers again.

    Raises:
        ConfigError: the site was never at work.
    """

    def change(con: Connection) -> None:
        known = book.records(con).get(site.key)
        if known is None:
            raise ConfigError(f"Site {site.name} was never at work here", "nothing: its numbers are new anyway")
        book.record(con, book.renumbered(known), site.clock(), f"renumbered by {operator}")
        memory.note(con, site.key, memory.JOBS_CURSOR, "", site.clock())

    site.store.commit(change)
    site.sites.forget()
