"""The state of the Nexudus sandbox: one table per entity, with what lists still show of the past.

What belongs here: keeping records, and which version of a record a list shows. What does not: what a write means
(`rules.py`), how lists are asked for (`lists.py`).
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pipeline.sandbox.nexudus.records import Entity, Record, stamp


@dataclass(slots=True)
class Row:
    """One record: its values, when they became so, and its former versions (None: it was not there)."""

    values: Record
    changed: datetime
    deleted: bool = False
    past: list[tuple[datetime, Record | None]] = field(default_factory=list[tuple[datetime, Record | None]])

    def seen(self, cutoff: datetime) -> Record | None:
        """The values as they were at `cutoff`; None when there was no record."""
        if self.changed <= cutoff:
            return None if self.deleted else self.values
        for moment, values in reversed(self.past):
            if moment <= cutoff:
                return values
        return None


@dataclass
class Table:
    """The records of one entity, by id."""

    entity: Entity
    rows: dict[int, Row] = field(default_factory=dict[int, Row])
    newest_id: int = 0

    def insert(self, values: Record, now: datetime, by: str) -> Record:
        """Keep a new record and give it what the server gives: id, GUID, moments, editor."""
        number = int(values.get("Id") or max(self.newest_id + 1, self.entity.first_id))
        self.newest_id = max(self.newest_id, number)
        moment = stamp(now)
        made = {"Id": number, "UniqueId": self._guid(number), "CreatedOn": moment, "UpdatedBy": by}
        record = made | {name: value for name, value in values.items() if name != "Id"}
        record.setdefault("UpdatedOn", record["CreatedOn"])
        self.rows[number] = Row(self.entity.sparse(record), now)
        return self.rows[number].values

    def get(self, number: Any) -> Record | None:
        """The current values of a record that is not deleted; None for what is no id."""
        row = self.rows.get(number) if isinstance(number, int) else None
        return None if row is None or row.deleted else row.values

    def replace(self, number: int, values: Record, now: datetime, by: str) -> Record:
        """Keep new values of a record; the old ones stay visible to lists that lag."""
        row = self.rows[number]
        row.past.append((row.changed, row.values))
        row.values = self.entity.sparse(values | {"UpdatedOn": stamp(now), "UpdatedBy": by})
        row.changed = now
        return row.values

    def delete(self, number: int, now: datetime) -> None:
        """Make a record vanish; `/state` keeps it."""
        row = self.rows[number]
        row.past.append((row.changed, row.values))
        row.deleted, row.changed = True, now

    def listed(self, cutoff: datetime | None) -> Iterator[Record]:
        """The records that a list shows: the current ones, or those of a moment in the past."""
        if cutoff is None:
            for row in self.rows.values():
                if row.past:
                    row.past.clear()
                if not row.deleted:
                    yield row.values
            return
        for row in self.rows.values():
            values = row.seen(cutoff)
            if values is not None:
                yield values

    def current(self) -> Iterator[Record]:
        """Every record that is not deleted."""
        return (row.values for row in self.rows.values() if not row.deleted)

    def everything(self) -> Iterator[Record]:
        """Every record with every key as it is at this moment, deleted ones marked; made as they are taken."""
        rows = [(row.values, row.deleted) for row in self.rows.values()]
        return (self.entity.full(values) | ({"Deleted": True} if deleted else {}) for values, deleted in rows)

    def seed(self, number: int) -> random.Random:
        """A generator that always gives the same values for the same record."""
        return random.Random(f"{self.entity.path}:{number}")

    def _guid(self, number: int) -> str:
        return str(uuid.UUID(int=self.seed(number).getrandbits(128), version=4))
