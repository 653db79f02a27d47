"""How a Nexudus list stands, as a value: what a run has read is compared with what a look is told.

What belongs here: counting records and changes, of a list that was read or of an answer about it. What does not: asking
(`client.py`), and what a change is a reason for (`pipeline.steps.look`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import chain
from typing import NamedTuple

from pipeline.errors import PermanentError
from pipeline.services.nexudus.wire import Record, moment

PEEK = 25
"""Rows of a look; also what a server gives that ignores the size (`nexudus-api.md` 2.1)."""


class Changes(NamedTuple):
    """How a list stands. Two of them that are equal mean that nothing changed in between.

    Attributes:
        since: the minute from which changes were counted, UTC; None where no time of a change is known.
        total: how many records the list has; what was deleted shows here only. None where they were not counted.
        newer: how many of them changed in that minute or later.
        newest: the last of these changes, to the second; None without one. Where more than `PEEK` changed, the last
            after that minute: whichever of them changes again does so later.
        shown: the id of each record that changed, with the time of it to the second; only of an answer.
    """

    since: datetime | None
    total: int | None
    newer: int
    newest: datetime | None
    shown: tuple[tuple[int, datetime | None], ...] = ()

    @classmethod
    def of(
        cls, lists: Sequence[Sequence[Record]], total: int, *, until: datetime, since: datetime | None = None
    ) -> Changes:
        """What lists that were just read say of themselves, as `changed_since` would for the newest change in them.

        Args:
            lists: what was read, each list whole or what changed in it since a time.
            total: how many records the whole lists have.
            until: a change after this time is an error of a clock, and no time to count from.
            since: the time of the question, where not the whole lists were asked for.
        """
        times = [[changed_on(record) for record in records] for records in lists]
        start = max((at for each in times for at in each if at and at <= until), default=since)
        if start is None:
            return cls(None, total, 0, None)
        start, parts = start.replace(second=0, microsecond=0), list[Changes]()
        for each in times:
            # A service may count a record without a time among the changes; one that counts it has just sent it.
            newer = [at for at in each if (at >= start if at else since is not None)]
            shown = start if len(newer) <= PEEK else start + timedelta(minutes=1)
            parts.append(cls(start, 0, len(newer), max((at for at in newer if at and at >= shown), default=None)))
        return cls.together(parts)._replace(since=start, total=total)

    def as_text(self) -> str:
        """The form in which it is remembered; it begins with `since`."""
        parts = (self.since, self.total, self.newer, self.newest)
        texts = [part.isoformat() if isinstance(part, datetime) else part for part in parts]
        return " ".join("-" if text is None else str(text) for text in texts)

    @classmethod
    def remembered(cls, text: str) -> Changes:
        """What was remembered as text."""
        since, total, newer, newest = text.split(" ")
        times = [None if part == "-" else datetime.fromisoformat(part) for part in (since, newest)]
        return cls(times[0], None if total == "-" else int(total), int(newer), times[1])

    def differs(self, before: Changes) -> bool:
        """Whether anything changed since; a total that was not counted differs from none."""
        total = before.total if self.total is None else self.total
        return self._replace(total=total, shown=()) != before._replace(shown=())

    def since_then(self, before: Changes) -> Sequence[tuple[int, datetime]] | None:
        """The records that changed after what is remembered, each with its time; None where not all of it is known."""
        at_once = self.since == before.since and len([at for _, at in self.shown if at == before.newest])
        counted = self.total in {None, before.total} and len(self.shown) == self.newer
        if not counted or not before.newest or not self.since or self.since > before.newest or at_once > before.newer:
            return None
        later = [(number, at) for number, at in self.shown if at is None or at > before.newest]
        times = [(number, at) for number, at in later if at is not None]
        return times if len(times) == len(later) else None

    @classmethod
    def together(cls, parts: Sequence[Changes]) -> Changes:
        """Several lists, asked for one `since`, as one."""
        newest = max((part.newest for part in parts if part.newest), default=None)
        since, totals = parts[0].since if parts else None, [part.total for part in parts]
        total = None if None in totals else sum(filter(None, totals))
        shown = tuple(chain.from_iterable(part.shown for part in parts))
        return cls(since, total, sum(part.newer for part in parts), newest, shown)


def changed_on(record: Record) -> datetime | None:
    """When a record was changed, to the second, as lists show no finer; None if that is no time."""
    try:
        return moment(str(record.get("UpdatedOn"))).replace(microsecond=0)
    except PermanentError:
        return None
