"""The witness of a campaign: what it saw, whether lines went ways that the model knows, and whether all comes to rest.

What belongs here: looking at the world of a campaign, and what to say when it is not as it must be. What does not: the
states (`states.py`), the ways (`replay.py`), and what happens in the world.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from pipeline.store import stops
from pipeline.store.lines import lines_in, waiting_lines
from pipeline.store.sql import Connection
from tests.campaign import history, replay, states
from tests.campaign.model import Step
from tests.harness import Harness

EVENTS = (
    "charge_event", "stop_event", "ownership_event", "access_event", "sharing_event", "rules_event", "site_event",
    "assignment_event", "default_event",
)  # fmt: skip
"""The books: a run that has nothing to do adds to none of them."""


class RestlessError(AssertionError):
    """Servers behave, and something is still under way that waits for nobody."""


@dataclass
class Witness:
    """What was seen of one world.

    Attributes:
        harness: the world.
        wanted: the states that are looked for.
        visits: those that were seen.
        steps: how often lines took each step, in the ledger as it is now.
        strange: what lines did that the model never does.
    """

    harness: Harness
    wanted: Mapping[str, states.Predicate]
    visits: set[str] = field(default_factory=set[str])
    steps: Counter[Step] = field(default_factory=Counter[Step])
    strange: list[str] = field(default_factory=list[str])

    def look(self, seen: Counter[str]) -> None:
        """Look at the world as it is; `seen` is what the story counted."""
        sales = self.harness.state()["nexudus"]["coworkerproducts"]
        with self.harness.sites.store.connect() as con:
            sight = states.sight(con, sales, seen)
        self.visits |= states.visited(sight, self.wanted, self.visits)
        self.steps |= replay.visited(sight.lines)
        self.strange += [each for each in replay.strange(sight.lines) if each not in self.strange]

    def at_rest(self) -> None:
        """Everything that waits for no person is done.

        Raises:
            RestlessError: it is not.
        """
        with self.harness.sites.store.connect() as con:
            left = _under_way(con)
            lines = history.lines(con, states.SITE) if left else []
        if left:
            refs = set(left[:3])
            jobs = {line.job_id for line in lines if line.ref in refs}
            shown = "; ".join(line.told() for line in lines if line.job_id in jobs)
            first = ", ".join(sorted(refs))
            raise RestlessError(f"two runs after the last fault {len(left)} lines are under way, {first}: {shown}")

    def unmoved(self, before: Mapping[str, Any]) -> None:
        """Nothing was written since `before`, neither to a server nor into the books.

        Args:
            before: what `written` gave.

        Raises:
            RestlessError: something was.
        """
        now = self.written()
        more = {name: now[name] - before.get(name, 0) for name in now if now[name] != before.get(name, 0)}
        if more:
            raise RestlessError(f"a run that had nothing to do wrote: {more}")

    def written(self) -> dict[str, int]:
        """How often each server was written to, and how long each book is."""
        with self.harness.sites.store.connect() as con:
            books = {name: len(con.table(name)) for name in EVENTS}
        return books | self.harness.writes()


def _under_way(con: Connection, site: str = states.SITE) -> list[str]:
    """The lines that are under way and wait for no person.

    A person's are those that are held, what is to replace them, and what takes them back.
    """
    if "charges" in stops.stopped(con, site):
        return []
    held = set(lines_in(con, site, "held")["ref"])
    going = lines_in(con, site, "priced", "sending", "unknown")
    held |= set(going.filter(pl.col("undoes").is_in(list(held)))["ref"])
    waits = waiting_lines(con, site).group_by("ref").agg("waits_for")
    peoples = {ref for ref, behind in waits.iter_rows() if held.intersection(behind)}
    return [ref for ref in going["ref"] if ref not in peoples | held]
