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
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar, cast

from pipeline.errors import MissingError, PermanentError, TransientError
from pipeline.services.http import OversizeError, caused_by
from pipeline.services.nexudus.changes import PEEK, Changes, changed_on
from pipeline.services.nexudus.session import Answer, Session
from pipeline.services.nexudus.wire import (
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

__all__ = ["Changes", "NexudusClient", "Record", "minute", "moment", "outcome", "replacement"]

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
            needs: keys that a record should have; rows that lack one (lists are summaries, 2.7) are read again by id. A
                record may lack it even so: its reader says that (`records.py`).
            **filters: in the documented form, for example `Coworker_Email="a@example.com"` or
                `from_Coworker_UpdatedOn=` an aware time; times are rounded to the minute so that the range grows.

        Returns:
            Every record once, by rising Id.

        Raises:
            TransientError: the pages did not add up twice.
            PermanentError: the service ignored a filter, or gives a needed key for no record of a list without a range,
                which is a matter of rights; as `request` otherwise.
            ValueError: a filter name that the service would silently ignore.
        """
        read, totals = self._whole(entity, query(entity, filters))
        if totals != {len(read)}:
            read, totals = self._whole(entity, query(entity, filters))
        if totals != {len(read)}:
            raise TransientError(
                f"the list of {entity} from Nexudus at {self.host} ended short: {len(read)} of {max(totals)} "
                "(read twice)",
                "nothing, the next run reads it again; if it stays, see whether somebody edits many records right now",
            )
        if name := ignored_filter(entity, filters, read.values()):
            raise self._ignored(entity, name)
        # A few records that changed may all lack a field; only a whole list says that nobody gives it.
        complete = not any(name.startswith(("from_", "to_")) for name in filters)
        return self._with_needs(entity, read, needs, complete=complete)

    def _ignored(self, entity: str, name: str) -> PermanentError:
        return PermanentError(
            f"Nexudus at {self.host} ignored the filter {name} on {entity}: rows outside it came back",
            "report it with this message; nothing was done with the list",
        )

    def _whole(self, entity: str, filters: Mapping[str, str]) -> tuple[dict[int, Record], set[int]]:
        """One reading of all pages, by smaller ones where records are so long that a page is more than is read."""
        try:
            return self._pass(entity, filters)
        except TransientError as error:
            if not caused_by(error, OversizeError):
                raise
            return self._pass(entity, {**filters, "size": str(BATCH_SIZE)})

    def _pass(self, entity: str, filters: Mapping[str, str]) -> tuple[dict[int, Record], set[int]]:
        """One reading of all pages: the rows by Id, and every total that was stated on the way."""
        first = self._page(entity, filters, page=1)
        # A server that ignores `size` gives 25 a page; a first page shorter than that is an error, not a page size.
        whole = len(first.rows) >= min(first.total, 25)
        pages = math.ceil(first.total / len(first.rows)) if first.rows and whole else 1
        others = self._each(lambda page: self._page(entity, filters, page=page), range(2, pages + 1))
        read = {row["Id"]: row for page in (first, *others) for row in page.rows}
        return dict(sorted(read.items())), {page.total for page in (first, *others)}

    def changed_since(self, entity: str, since: datetime | None, *, counted: bool = True, **filters: object) -> Changes:
        """How a list stands, for a comparison with an answer to the same question before: did anything change?

        No order is asked for, as the pages of the vendor contradict each other about it (2.3). Instead: how many
        records there are, and which of them changed at or after a minute. One to three requests of a few records.

        Args:
            entity: for example `coworkers`.
            since: the newest change known; it is rounded down to the minute. None where nothing is known.
            counted: whether to ask how many records there are, which alone shows what was deleted.
            **filters: as in `records`, without a range.

        Raises:
            PermanentError: the service ignored the range: rows outside it came back; as `request` otherwise.
        """
        total = self.count(entity, **filters) if counted or since is None else None
        if since is None:
            return Changes(None, total, 0, None)
        start = since.replace(second=0, microsecond=0)
        rows_, newer = self._changed(entity, start, filters)
        if newer > PEEK:
            rows_, _ = self._changed(entity, start + timedelta(minutes=1), filters)
        shown = tuple((int(row["Id"]), changed_on(row)) for row in rows_)
        return Changes(start, total, newer, max((at for _, at in shown if at), default=None), shown)

    def _changed(self, entity: str, start: datetime, filters: Mapping[str, object]) -> _Page:
        changed: dict[str, object] = {f"from_{MODULES[entity][1]}_UpdatedOn": start}
        page = self._page(entity, query(entity, {**filters, **changed}), page=1, size=PEEK)
        if name := ignored_filter(entity, changed, page.rows):
            raise self._ignored(entity, name)
        return page

    def _page(
        self,
        entity: str,
        filters: Mapping[str, str],
        *,
        page: int,
        size: int = PAGE_SIZE,
    ) -> _Page:
        params = {"page": str(page), "size": str(size), **BY_ID, **filters}
        answer = self.request("GET", _path(entity), params=params)
        listed, total = rows(answer), field(answer, "TotalItems")
        if listed is None or not isinstance(total, int):
            raise TransientError(
                f"GET {_path(entity)}: Nexudus at {self.host} answered page {page} without Records, Ids or TotalItems",
                "nothing, the next run reads it again; if it stays, report it with this message",
            )
        return _Page(listed, total)

    def _with_needs(
        self, entity: str, read: dict[int, Record], needs: Sequence[str], *, complete: bool
    ) -> list[Record]:
        """The list, with what it left out read by id; a field that a record lacks even then is that record's matter."""

        def lacking() -> list[int]:
            return [key for key, row in read.items() if any(need not in row for need in needs)]

        def nowhere() -> list[str]:
            return [need for need in needs if not any(need in row for row in read.values())]

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
            # What no record has is asked for once: the rights do not give it.
            asked = short[:1] if nowhere() else short
            fill(filter(None, self._each(lambda key: self._found(entity, key), asked)), asked)
        if complete and (absent := nowhere()) and read:
            raise PermanentError(
                f"Nexudus at {self.host} does not give {', '.join(absent)} of {len(read)} {entity}, first {min(read)}",
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
