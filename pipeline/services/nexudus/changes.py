"""How a Nexudus list stands, as a value: what a run has read is compared with what a look is told.

What belongs here: counting records and changes, of a list that was read or of an answer about it. What does not: asking
(`client.py`), and what a change is a reason for (`pipeline.steps.look`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from pipeline.errors import PermanentError
from pipeline.services.nexudus.wire import Record, moment

PEEK = 25
"""Rows of a look; also what a server gives that ignores the size (`nexudus-api.md` 2.1)."""


class Changes(NamedTuple):
    """How a list stands. Two of them that are equal mean that nothing changed in between.

    Attributes:
        since: the minute from which changes were counted, UTC; None where no time of a change is known.
        total: how many records the list has; what was deleted shows here only.
        newer: how many of them changed in that minute or later.
        newest: the last of these changes, to the second; None without one. Where more than `PEEK` changed, the last
            after that minute: whichever of them changes again does so later.
    """

    since: datetime | None
    total: int
    newer: int
    newest: datetime | None

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
        """The form in which it is remembered and compared; it begins with `since`."""
        parts = [part.isoformat() if isinstance(part, datetime) else part for part in self]
        return " ".join("-" if part is None else str(part) for part in parts)

    @classmethod
    def together(cls, parts: Sequence[Changes]) -> Changes:
        """Several lists, asked for one `since`, as one."""
        newest = max((part.newest for part in parts if part.newest), default=None)
        since = parts[0].since if parts else None
        return cls(since, sum(part.total for part in parts), sum(part.newer for part in parts), newest)


def changed_on(record: Record) -> datetime | None:
    """When a record was changed, to the second, as lists show no finer; None if that is no time."""
    try:
        return moment(str(record.get("UpdatedOn"))).replace(microsecond=0)
    except PermanentError:
        return None
