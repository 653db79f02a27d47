"""Did a list of Nexudus change? What was read against what a look is told."""

from __future__ import annotations

from datetime import datetime, timedelta

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import (
    PermanentError,
)
from pipeline.services.nexudus.changes import Changes
from tests.services.nexudus.answers import ERRORS, NOW, client, listing


class Listed:
    """A list of customers as three kinds of services give it: a direction is honoured, ignored or answered with 400."""

    def __init__(self, direction: str) -> None:
        self.rows: dict[int, datetime] = {}
        self.direction = direction
        self.asked: list[dict[str, str]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        asked = dict(request.url.params)
        self.asked.append(asked)
        if "dir" in asked and self.direction == "refused":
            return httpx.Response(400, json=ERRORS)
        since = asked.get("from_Coworker_UpdatedOn", "")
        found = [(key, at) for key, at in sorted(self.rows.items()) if f"{at:%Y-%m-%dT%H:%M}" >= since]
        if asked.get("orderBy") == "UpdatedOn":
            found.sort(key=lambda row: row[1], reverse="dir" in asked and self.direction == "honoured")
        page = [{"Id": key, "UpdatedOn": f"{at:%Y-%m-%dT%H:%M:%SZ}"} for key, at in found[: int(asked["size"])]]
        return httpx.Response(200, json={"Records": page, "TotalItems": len(found)})


@pytest.mark.parametrize("direction", ["honoured", "ignored", "refused"])
def test_a_change_is_seen_whatever_the_service_makes_of_a_direction(direction: str) -> None:
    service = Listed(direction)
    service.rows = {key: NOW - timedelta(days=1, seconds=key) for key in range(1, 200)} | {200: NOW}
    with client(service) as nexudus:
        before = nexudus.changed_since("coworkers", NOW)
        assert before[:4] == (NOW, 200, 1, NOW)
        assert nexudus.changed_since("coworkers", NOW) == before, "nothing changed"
        service.rows[17] = NOW + timedelta(hours=1)
        assert nexudus.changed_since("coworkers", NOW)[:4] == (NOW, 200, 2, NOW + timedelta(hours=1)), "one changed"
        del service.rows[17], service.rows[200]
        assert nexudus.changed_since("coworkers", NOW)[:4] == (NOW, 198, 0, None), "one was deleted"
        assert nexudus.changed_since("coworkers", None)[:4] == (None, 198, 0, None)
    assert not any("dir" in asked for asked in service.asked)


def test_a_change_in_the_very_minute_of_the_newest_is_seen() -> None:
    service = Listed("ignored")
    service.rows = {1: NOW, 2: NOW + timedelta(seconds=5)}
    with client(service) as nexudus:
        before = nexudus.changed_since("coworkers", NOW + timedelta(seconds=5))
        service.rows[1] = NOW + timedelta(seconds=59)
        assert nexudus.changed_since("coworkers", NOW + timedelta(seconds=5)) != before


def test_a_change_after_very_many_in_one_minute_is_seen() -> None:
    service = Listed("ignored")
    service.rows = {key: NOW + timedelta(seconds=key % 60) for key in range(1, 400)}
    with client(service) as nexudus:
        before = nexudus.changed_since("coworkers", NOW)
        assert before[:4] == (NOW, 399, 399, None)
        for seconds in (60, 61, 3600):
            service.rows[7] = NOW + timedelta(seconds=seconds)
            after = nexudus.changed_since("coworkers", NOW)
            assert after[:4] == (NOW, 399, 399, NOW + timedelta(seconds=seconds))
        service.rows |= {key: NOW + timedelta(minutes=5) for key in range(100, 200)}
        assert nexudus.changed_since("coworkers", NOW) != before


def test_a_service_that_ignores_the_range_is_noticed() -> None:
    rows = [{"Id": 1, "UpdatedOn": "2026-11-01T00:00:00Z"}, {"Id": 2, "UpdatedOn": "2026-11-20T09:00:00Z"}]
    with client(listing(rows)) as nexudus, pytest.raises(PermanentError, match="ignored the filter from_Coworker_Upd"):
        nexudus.changed_since("coworkers", NOW)


CHANGE = st.tuples(st.integers(1, 60), st.one_of(st.integers(0, 180), st.none()))


@settings(max_examples=300)
@given(
    start=st.dictionaries(st.integers(1, 60), st.integers(-90, 0)),
    spread=st.sampled_from([1, 60]),
    changes=st.lists(CHANGE, max_size=40),
)
def test_a_look_equals_what_was_read_only_if_nothing_changed(
    start: dict[int, int], spread: int, changes: list[tuple[int, int | None]]
) -> None:
    """Each change stamps a record with a later time, or takes it away; the look after it must differ.

    Two changes within one second, which no list shows, are told by nothing.
    """
    service = Listed("ignored")
    service.rows = {key: NOW + timedelta(seconds=at * spread) for key, at in start.items()}
    clock, first = NOW, dict(service.rows)
    with client(service) as nexudus:
        records = nexudus.records("coworkers")
        read = Changes.of([records], len(records), until=NOW)
        since = NOW - timedelta(minutes=10)
        some = nexudus.records("coworkers", from_Coworker_UpdatedOn=since)
        assert not some or Changes.of([some], len(records), until=NOW, since=since) == read
        assert not nexudus.changed_since("coworkers", read.since).differs(read)
        for key, wait in changes:
            clock += timedelta(seconds=1 + (wait or 0))
            if wait is None:
                service.rows.pop(key, None)
            else:
                service.rows[key] = clock
            assert nexudus.changed_since("coworkers", read.since).differs(read) == (service.rows != first)
