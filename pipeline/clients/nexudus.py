"""The Nexudus REST API: complete lists, single records, and writes whose outcome is always named.

What belongs here: paging, putting lists together, and the three writes (`nexudus-api.md`; section numbers below are
its). How one call is sent is in `nexudus_session.py`, what answers and texts mean in `nexudus_wire.py`. What does not
belong: which customers or credits count, what is charged, and the look-up of a write with an unknown outcome (the
ledger does that).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, NamedTuple, TypeVar, cast

from pipeline.clients.nexudus_session import Answer, Session
from pipeline.clients.nexudus_wire import (
    MODULES,
    Record,
    field,
    ignored_filter,
    minute,
    moment,
    outcome,
    query,
    replacement,
    role,
    rows,
)
from pipeline.errors import MissingError, PermanentError, TransientError

__all__ = ["NexudusClient", "Record", "minute", "moment", "outcome", "replacement"]

A = TypeVar("A")
B = TypeVar("B")

PAGE_SIZE = 1000  # the documented maximum (2.1)
BATCH_SIZE = 100

BY_ID: Mapping[str, str] = {"orderBy": "Id"}
"""The only order that stays while records are edited during paging (2.3)."""


class _Page(NamedTuple):
    rows: list[Record]
    total: int


class NexudusClient(Session):
    """One Nexudus account: its lists, records and writes, over a session that signs in and waits."""

    # Lists and records

    def count(self, entity: str, **filters: object) -> int:
        """How many records a list has; one request of one row. Filters as in `records`."""
        return self._page(entity, query(entity, filters), page=1, size=1).total

    def records(self, entity: str, *, needs: Sequence[str] = (), **filters: object) -> list[Record]:
        """A list, complete or an error (`money-safety.md` 2.3).

        Args:
            entity: for example `coworkers`.
            needs: keys that every record must have; rows that lack one (lists are summaries, 2.7) are read again by id.
            **filters: in the documented form, for example `Coworker_Email="a@example.com"` or
                `from_Coworker_UpdatedOn=` an aware time; times are rounded to the minute so that the range grows.

        Returns:
            Every record once, by rising Id.

        Raises:
            TransientError: the pages did not add up twice.
            PermanentError: the service ignored a filter, or never gives a needed key; as `request` otherwise.
            ValueError: a filter name that the service would silently ignore.
        """
        read, totals = self._pass(entity, query(entity, filters))
        if totals != {len(read)}:
            read, totals = self._pass(entity, query(entity, filters))
        if totals != {len(read)}:
            raise TransientError(
                f"the list of {entity} from Nexudus at {self.host} ended short: {len(read)} of {max(totals)} "
                "(read twice)",
                "nothing, the next run reads it again; if it stays, see whether somebody edits many records right now",
            )
        if name := ignored_filter(entity, filters, read.values()):
            raise PermanentError(
                f"Nexudus at {self.host} ignored the filter {name} on {entity}: rows outside it came back",
                "report it with this message; nothing was done with the list",
            )
        return self._with_needs(entity, read, needs)

    def _pass(self, entity: str, filters: Mapping[str, str]) -> tuple[dict[int, Record], set[int]]:
        """One reading of all pages: the rows by Id, and every total that was stated on the way."""
        first = self._page(entity, filters, page=1)
        # A server that ignores `size` gives 25 a page; a first page shorter than that is an error, not a page size.
        whole = len(first.rows) >= min(first.total, 25)
        pages = math.ceil(first.total / len(first.rows)) if first.rows and whole else 1
        others = self._each(lambda page: self._page(entity, filters, page=page), range(2, pages + 1))
        read = {row["Id"]: row for page in (first, *others) for row in page.rows}
        return dict(sorted(read.items())), {page.total for page in (first, *others)}

    def newest(self, entity: str, **filters: object) -> tuple[int, datetime | None]:
        """How many records a list has, and when the one that was changed last was changed; one request of one row."""
        order = {"orderBy": "UpdatedOn", "dir": "Descending"}
        page = self._page(entity, query(entity, filters), page=1, size=1, order=order)
        return page.total, moment(page.rows[0]["UpdatedOn"]) if page.rows else None

    def _page(
        self,
        entity: str,
        filters: Mapping[str, str],
        *,
        page: int,
        size: int = PAGE_SIZE,
        order: Mapping[str, str] = BY_ID,
    ) -> _Page:
        params = {**filters, "page": str(page), "size": str(size), **order}
        answer = self.request("GET", _path(entity), params=params)
        listed, total = rows(answer), field(answer, "TotalItems")
        if listed is None or not isinstance(total, int):
            raise TransientError(
                f"GET {_path(entity)}: Nexudus at {self.host} answered page {page} without Records, Ids or TotalItems",
                "nothing, the next run reads it again; if it stays, report it with this message",
            )
        return _Page(listed, total)

    def _with_needs(self, entity: str, read: dict[int, Record], needs: Sequence[str]) -> list[Record]:
        def lacking() -> list[int]:
            return [key for key, row in read.items() if any(need not in row for need in needs)]

        def fill(found: Iterable[Record], asked: Iterable[int]) -> None:
            full = {record["Id"]: record for record in found}
            for key in asked:
                if key in full:
                    read[key] |= full[key]
                else:
                    del read[key]  # GET by id says that it is gone since the list was read

        if short := lacking():
            fill(self.batch(entity, short), short)
        if short := lacking():
            fill(filter(None, self._each(lambda key: self._found(entity, key), short)), short)
        if short := lacking():
            raise PermanentError(
                f"Nexudus at {self.host} does not give {', '.join(needs)} of {len(short)} {entity}, first {short[0]}",
                f"give the API user {role('GET', f'{_path(entity)}/1')}",
            )
        return list(read.values())

    def record(self, entity: str, id_: int) -> Record:
        """One full record by id. Raises MissingError when it does not exist; otherwise as `request`."""
        answer = self.request("GET", f"{_path(entity)}/{id_}")
        if field(answer, "Id") == id_:
            return cast("Record", answer)
        raise TransientError(
            f"GET {_path(entity)}/{id_}: Nexudus at {self.host} answered with something else than this record",
            "nothing, the next run reads it again; if it stays, report it with this message",
        )

    def batch(self, entity: str, ids: Sequence[int]) -> list[Record]:
        """Full records by id, 100 a request; ids that do not exist (GET by id says 404) are left out. As `request`."""

        def chunk(start: int) -> list[Record]:
            asked = ids[start : start + BATCH_SIZE]
            params = {"id": f"[{','.join(map(str, asked))}]", "size": str(len(asked))}
            answer = self.request("GET", f"{_path(entity)}/", params=params)  # an array, or an envelope (2.8)
            found = {row["Id"]: row for row in rows(answer) or [] if row["Id"] in asked}
            rest = [self._found(entity, key) for key in asked if key not in found]
            return [*found.values(), *filter(None, rest)]

        return [record for records in self._each(chunk, range(0, len(ids), BATCH_SIZE)) for record in records]

    def _found(self, entity: str, id_: int) -> Record | None:
        try:
            return self.record(entity, id_)
        except MissingError:
            return None

    def _each(self, read: Callable[[A], B], items: Iterable[A]) -> list[B]:
        """The reads over several threads, in order; the first error ends them all."""
        with ThreadPoolExecutor(self._connections) as pool:
            return list(pool.map(read, items))

    # Writes: each raises as `request`; an UnknownOutcomeError means that it may have happened

    def create(self, entity: str, body: Mapping[str, Any]) -> Record:
        """Create a record. Returns `Value`: the full record, or only its Id (3.2)."""
        value = self.request("POST", _path(entity), body=dict(body)).get("Value")
        if isinstance(field(value, "Id"), int):
            return cast("Record", value)
        answer = Answer("unknown", came="answered with success but without the Id of the new record")
        raise self._error("POST", _path(entity), answer)

    def update(self, entity: str, body: Mapping[str, Any]) -> Record:
        """Replace a record: all of it, with its Id, since PUT clears what is left out (see `replacement`)."""
        if not body.get("Id"):
            raise ValueError("PUT needs the Id of the record in its body")
        value = self.request("PUT", _path(entity), body=dict(body)).get("Value")
        return cast("Record", value) if isinstance(value, dict) else {}

    def delete(self, entity: str, id_: int) -> None:
        """Delete a record; one that is already gone is a success (3.6)."""
        self.request("DELETE", f"{_path(entity)}/{id_}")


def _path(entity: str) -> str:
    return f"{MODULES[entity][0]}/{entity}"
