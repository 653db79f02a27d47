"""Lists of the Nexudus sandbox: paging, ordering, filters and the envelope (`nexudus-api.md` 2 and 10.2).

What belongs here: from a query string to the rows of one page. What does not: how a single record is read or written.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from pipeline.sandbox.core import Core
from pipeline.sandbox.nexudus.answers import FailureError
from pipeline.sandbox.nexudus.records import REFERENCES, Entity, Field, Record, is_date, stamp, stamp_of, whole_seconds
from pipeline.sandbox.nexudus.switches import choice
from pipeline.sandbox.nexudus.tables import Table

Get = Callable[[Record], Any]
Test = Callable[[Record], bool]

MAX_SIZE = 1000
DEFAULT_SIZE = 25
EXACT_TEXTS = frozenset({"Email", "UniqueId"})


@dataclass(frozen=True)
class Lists:
    """The list calls over all tables."""

    core: Core
    tables: Mapping[str, Table]

    def page(self, entity: Entity, query: Mapping[str, str]) -> Record:
        """One page in the envelope of sample 06, its rows as summaries.

        Args:
            entity: what to list.
            query: the query parameters, names in lower case; unknown ones are ignored, as the service does.

        Raises:
            FailureError: `size` is too large and the switch says to refuse; a filter that the list needs is missing.
        """
        rows = self._matching(entity, query)
        order, descending, direction = self._order(entity, query)
        rows.sort(key=lambda row: row["Id"])
        if order != "Id" or descending:
            rows.sort(key=_sort_key(entity, order), reverse=descending)
        number, size = max(_whole(query.get("page"), 1), 1), self._size(query)
        first = (number - 1) * size
        page = rows[first : first + size]
        total, pages = len(rows), -(-len(rows) // size)
        if not total:
            pages = int(choice(self.core, "empty_total_pages"))
        envelope: Record = {
            "Records": [self.summary(entity, row) for row in page],
            "CurrentPageSize": size,
            "CurrentPage": number,
            "CurrentOrderField": order,
            "CurrentSortDirection": direction,
            "FirstItem": first + 1,
            "HasNextPage": number < pages,
            "HasPreviousPage": number > 1,
            "LastItem": first + len(page),
            "PageNumber": number,
            "PageSize": size,
            "TotalItems": total,
            "TotalPages": pages,
        }
        if choice(self.core, "page_fields") == "omit":
            del envelope["PageNumber"], envelope["PageSize"]
        return envelope

    def summary(self, entity: Entity, row: Record) -> Record:
        """A record as a list shows it: arrays null, whole seconds, comma strings (`nexudus-api.md` 2.7)."""
        record = read(entity, row)
        if row.get("Teams") and entity.path == "coworkers" and record["TeamIds"] is None:
            record["TeamIds"] = str(row["Teams"]).strip("[]").replace(" ", "")
        for name in entity.lists:
            record[name] = None
        for name in choice(self.core, "list_omit"):
            record.pop(name, None)
        if entity.path == "coworkerinvoicelines" and choice(self.core, "line_bool_type") == "string":
            for name in ("CoworkerInvoicePaid", "CoworkerInvoiceCreditNote"):
                record[name] = str(record[name])
        return record

    def _matching(self, entity: Entity, query: Mapping[str, str]) -> list[Record]:
        lag = float(choice(self.core, "list_lag_seconds"))
        cutoff = self.core.clock.now() - timedelta(seconds=lag) if lag > 0 else None
        tests = [test for name, value in query.items() if (test := self._test(entity, name, value)) is not None]
        if "Archived" in entity.fields and choice(self.core, "list_archived") == "hide":
            tests.append(lambda row: not row.get("Archived"))
        if entity.path == "coworkerextraservices" and choice(self.core, "expired_credits") == "vanish":
            tests.append(lambda row: not self.is_gone(entity, row))
        if entity.path == "coworkerinvoicelines" and choice(self.core, "line_list") == "needs_invoice":
            needed = "CoworkerInvoiceLine_CoworkerInvoice"
            if not {needed.casefold(), "id", "uniqueid"} & set(query):
                raise FailureError(400, {"Message": f"Missing required filter: {needed}"})
        rows = self.tables[entity.path].listed(cutoff)
        if not tests:
            return list(rows)
        return [row for row in rows if all(_passes(test, row) for test in tests)]

    def is_gone(self, entity: Entity, row: Record) -> bool:
        """Whether a record is an expired credit that the service shows no more (switch `expired_credits`)."""
        if entity.path != "coworkerextraservices" or choice(self.core, "expired_credits") == "stay":
            return False
        return is_date(row.get("ExpireDate")) and row["ExpireDate"] <= stamp(self.core.clock.now())

    def _size(self, query: Mapping[str, str]) -> int:
        size = _whole(query.get("size"), DEFAULT_SIZE)
        if size <= 0:
            return DEFAULT_SIZE
        if size <= MAX_SIZE:
            return size
        match choice(self.core, "oversize_page"):
            case "honour":
                return size
            case "reset_25":
                return DEFAULT_SIZE
            case "reject_400":
                raise FailureError(400, {"Message": "The page size is too large."})
            case _:
                return MAX_SIZE

    def _order(self, entity: Entity, query: Mapping[str, str]) -> tuple[str, bool, int]:
        """The order field, whether it is descending, and the number that stands for the direction."""
        asked = query.get("orderby", "")
        if choice(self.core, "orderby_case") == "insensitive":
            asked = entity.keys.get(asked.casefold(), "")
        order = asked if asked in entity.fields else entity.order
        ascending, down = self._direction(query.get("dir", "").strip().casefold())
        return order, down, (-ascending or 1) if down else ascending

    def _direction(self, asked: str) -> tuple[int, bool]:
        """What stands for ascending (0 or 1), and whether descending is asked for, as `dir_meaning` says.

        Raises:
            FailureError: a word where only numbers are taken.
        """
        meaning = choice(self.core, "dir_meaning")
        ascending = 0 if meaning == "0asc_1desc" else 1
        if not meaning.startswith("numbers_only"):
            return ascending, asked in {"descending", "-1" if ascending else "1"}
        if meaning == "numbers_only_400" and asked not in {"", "0", "1", "-1"}:
            raise FailureError(400, {"Message": "The request is invalid."})
        return ascending, asked == "-1"

    # Filters ------------------------------------------------------------------------------------------------------

    def _test(self, entity: Entity, name: str, value: str) -> Test | None:
        """The test for one query parameter; None when the service would ignore it."""
        if name in {ignored.casefold() for ignored in choice(self.core, "filters_ignored")}:
            return None
        if name in {"id", "uniqueid"}:
            key = entity.keys[name]
            return self._equal(entity.fields[key], key, _plain(entity, key), value)
        for prefix, compare in (("from_", operator.ge), ("to_", operator.le)):
            if name.startswith(prefix):
                found = self._property(entity, name.removeprefix(prefix))
                return self._range(*found, value, compare) if found else None
        found = self._property(entity, name)
        if found is None:
            return None
        item, key, get = found
        if value.casefold() in {"null", "notnull"}:
            wanted = value.casefold() == "null"
            nothing = (None, 0) if item.kind == "ref" else (None,)
            return lambda row: (get(row) in nothing) == wanted
        return self._equal(item, key, get, value)

    def _property(self, entity: Entity, name: str) -> tuple[Field, str, Get] | None:
        """The property that a filter `{Entity}_{Property}` names, with references followed and without their `Id`."""
        prefix, *path = name.split("_")
        return self._follow(entity, path) if path and prefix == entity.name.casefold() else None

    def _follow(self, entity: Entity, path: list[str]) -> tuple[Field, str, Get] | None:
        key = entity.keys.get(path[0])
        if len(path) == 1 and key and entity.fields[key].kind != "ref":
            return entity.fields[key], key, _plain(entity, key)
        reference = entity.keys.get(path[0] + "id")
        if reference is None or entity.fields[reference].kind != "ref":
            return None
        target = REFERENCES[reference.removesuffix("Id")]
        get = _plain(entity, reference)
        if len(path) == 1:
            return entity.fields[reference], reference, get
        found = self._follow(self.tables[target].entity, path[1:]) if target else None
        if found is None:
            return None
        item, key, inner = found
        table = self.tables[target]
        return item, key, lambda row: inner(other) if (other := table.get(get(row) or 0)) else None

    def _equal(self, item: Field, key: str, get: Get, value: str) -> Test | None:
        if item.kind == "text":
            text = value.casefold()
            if key in EXACT_TEXTS or choice(self.core, "string_match") == "exact":
                return lambda row: str(get(row) or "").casefold() == text
            return lambda row: text in str(get(row) or "").casefold()
        try:
            if item.kind == "list":
                number = int(value)
                return lambda row: number in (get(row) or ())
            wanted = item.parse(value)
        except (ValueError, TypeError, ArithmeticError):
            return None
        if item.kind == "date":
            return lambda row: bool(get(row)) and whole_seconds(get(row)) == whole_seconds(wanted)
        return lambda row: get(row) == wanted

    def _range(self, item: Field, _key: str, get: Get, value: str, compare: Callable[[Any, Any], bool]) -> Test | None:
        """`from_` and `to_`: dates with minute precision unless the switch says otherwise (`nexudus-api.md` 2.5)."""
        try:
            if item.kind == "date":
                bound: Any = stamp_of(value)
                if choice(self.core, "range_seconds") == "truncate_to_minute":
                    bound = bound[:17] + "00.0000000Z"
            elif item.kind in {"whole", "ref", "decimal"}:
                bound = Decimal(value)
                if not bound.is_finite():
                    return None
            else:
                return None
        except (ValueError, ArithmeticError):
            return None
        return lambda row: (found := get(row)) is not None and compare(found, bound)


def read(entity: Entity, row: Record) -> Record:
    """A record as reads show it: every key, dates in whole seconds."""
    record = entity.full(row)
    for name in entity.dates:
        if record[name]:
            record[name] = whole_seconds(record[name])
    return record


def _plain(entity: Entity, key: str) -> Get:
    default = entity.defaults[key]
    return lambda row: row.get(key, default)


def _sort_key(entity: Entity, key: str) -> Callable[[Record], tuple[int, Any]]:
    get = _plain(entity, key)

    def sort_key(row: Record) -> tuple[int, Any]:
        """Null first, then numbers, then texts, then whatever else was given."""
        value = get(row)
        match value:
            case None:
                return 0, 0
            case int() | float() | Decimal():
                return 1, value
            case str():
                return 2, value.casefold()
            case _:
                return 3, str(value)

    return sort_key


def _passes(test: Test, row: Record) -> bool:
    """Whether a row passes a test; one that holds something odd in the place of a date or number does not."""
    try:
        return test(row)
    except TypeError:
        return False


def _whole(text: str | None, default: int) -> int:
    try:
        return int(text or default)
    except ValueError:
        return default
