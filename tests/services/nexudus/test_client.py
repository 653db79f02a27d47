"""The Nexudus client: lists and records, complete or an error."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from pipeline.errors import (
    PermanentError,
    TransientError,
)
from pipeline.services.nexudus.changes import Changes
from tests.services.nexudus.answers import NOW, client, listing, replay


@pytest.mark.parametrize(("number", "size"), [(0, 1000), (1, 1000), (1000, 1000), (2500, 1000), (60, 25)])
def test_a_list_is_complete(number: int, size: int) -> None:
    rows = [{"Id": key} for key in range(number, 0, -1)]
    with client(listing(rows, size=size)) as nexudus:
        assert [row["Id"] for row in nexudus.records("coworkers")] == list(range(1, number + 1))


def test_a_list_that_changed_while_it_was_read_is_read_again() -> None:
    rows = [{"Id": key} for key in range(30)]
    reads: list[int] = []

    def serve(request: httpx.Request) -> httpx.Response:
        reads.append(1)
        shown = rows[:29] if len(reads) == 1 else rows
        return listing(shown, size=25)(request)

    with client(serve, connections=1) as nexudus:
        assert len(nexudus.records("coworkers")) == 30
    assert len(reads) == 4


@pytest.mark.parametrize("page", [{"Records": [{"Id": 1}], "TotalItems": 2}, {"Records": [], "TotalItems": 5}])
def test_a_short_list_is_an_error_with_its_numbers(page: dict[str, Any]) -> None:
    serve, asked = replay(httpx.Response(200, json=page))
    number = rf"ended short: {len(page['Records'])} of {page['TotalItems']}"
    with client(serve) as nexudus, pytest.raises(TransientError, match=f"list of coworkers .*{number}.*What to do"):
        nexudus.records("coworkers")
    assert len(asked) == 2


@pytest.mark.parametrize(
    "answer", [{}, {"TotalItems": 0}, {"Records": None, "TotalItems": 0}, [], "x", {"Records": [{}], "TotalItems": 1}]
)
def test_an_answer_without_rows_is_never_an_empty_list(answer: Any) -> None:
    serve, _ = replay(httpx.Response(200, json=answer))
    with client(serve) as nexudus, pytest.raises(TransientError, match="without Records"):
        nexudus.records("coworkers")


@pytest.mark.parametrize(
    ("filters", "row"),
    [
        ({"CoworkerProduct_Coworker": 5}, {"Id": 1, "CoworkerId": 6}),
        ({"CoworkerProduct_Invoiced": False}, {"Id": 1, "Invoiced": True}),
        ({"from_CoworkerProduct_CreatedOn": NOW}, {"Id": 1, "CreatedOn": "2026-11-20T08:50:00Z"}),
        ({"to_CoworkerProduct_CreatedOn": NOW}, {"Id": 1, "CreatedOn": "2026-11-20T09:10:00Z"}),
        ({"from_CoworkerProduct_Quantity": 3}, {"Id": 1, "Quantity": 2}),
    ],
)
def test_a_filter_that_the_service_ignored_is_noticed(filters: dict[str, Any], row: dict[str, Any]) -> None:
    with client(listing([row])) as nexudus, pytest.raises(PermanentError, match="ignored the filter"):
        nexudus.records("coworkerproducts", **filters)


def test_a_filter_that_worked_passes() -> None:
    row = {"Id": 1, "CoworkerId": 5, "Invoiced": False, "CreatedOn": "2026-11-20T08:59:59.9Z", "Notes": None}
    with client(listing([row])) as nexudus:
        assert nexudus.records(
            "coworkerproducts",
            CoworkerProduct_Coworker=5,
            CoworkerProduct_Invoiced=False,
            CoworkerProduct_Notes="text",
            from_CoworkerProduct_CreatedOn=NOW,
            to_CoworkerProduct_CreatedOn=NOW + timedelta(hours=1),
        ) == [row]


@pytest.mark.parametrize("shape", ["array", "envelope", "ignored"])
def test_missing_fields_are_read_by_id(shape: str) -> None:
    full = {key: {"Id": key, "FullName": f"M{key}", "AccessPincode": f"0{key}"} for key in (1, 2, 3)}
    rows = [{"Id": 1, "AccessPincode": None}, {"Id": 2, "FullName": "M2"}, {"Id": 3}, {"Id": 4}]
    seen: list[str] = []

    def serve(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.path)
        ids = request.url.params.get("id")
        if ids is None:
            return listing(list(full.values()) if request.url.path[-1].isdigit() else rows)(request)
        found = [full[key] for key in json.loads(ids) if key in full] if shape != "ignored" else list(rows)
        return httpx.Response(200, json=found if shape == "array" else {"Records": found, "TotalItems": len(found)})

    with client(serve, connections=1) as nexudus:
        read = nexudus.records("coworkers", needs=("AccessPincode",))
    assert [(row["Id"], row["AccessPincode"]) for row in read] == [(1, None), (2, "02"), (3, "03")], (
        "null stays null, an absent key is fetched, a record that is gone by id is left out"
    )
    assert "/api/spaces/coworkers/" in seen


def test_a_field_that_is_nowhere_is_an_error() -> None:
    with (
        client(listing([{"Id": 1}])) as nexudus,
        pytest.raises(PermanentError, match=r"does not give AccessPincode of 1 coworkers.*Coworker-Read"),
    ):
        nexudus.records("coworkers", needs=("AccessPincode",))


def test_a_field_that_one_record_lacks_is_that_records_matter() -> None:
    rows: list[dict[str, Any]] = [{"Id": 1, "Email": "a", "Active": True}, {"Id": 2, "Email": None}]
    with client(listing(rows)) as nexudus:
        assert nexudus.records("coworkers", needs=("Email", "Active")) == rows


def test_what_no_record_has_is_asked_for_once_and_named() -> None:
    rows = [{"Id": key, "Email": "a"} for key in range(1, 301)]
    asked: list[str] = []

    def serve(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        if "id" in request.url.params:
            return httpx.Response(200, json=[rows[key - 1] for key in json.loads(request.url.params["id"])])
        return listing(rows)(request)

    with client(serve) as nexudus:
        with pytest.raises(
            PermanentError, match=r"does not give AccessPincode of 300 coworkers, first 1.*Coworker-Read"
        ):
            nexudus.records("coworkers", needs=("Email", "AccessPincode"))
        assert len([path for path in asked if path[-1].isdigit()]) == 1
        range_ = {"from_Coworker_UpdatedOn": NOW}
        assert nexudus.records("coworkers", needs=("AccessPincode",), **range_) == rows, "few records prove nothing"


@pytest.mark.parametrize("odd", ["soon", "", None, 5, "0001-01-01T00:00:00Z+", "9999-12-31T23:59:59-05:00"])
def test_a_date_that_cannot_be_read_does_not_stop_a_list(odd: Any) -> None:
    rows = [{"Id": 1, "UpdatedOn": odd}, {"Id": 2, "UpdatedOn": "2026-11-20T09:00:01Z"}]
    with client(listing(rows)) as nexudus:
        assert nexudus.records("coworkers", from_Coworker_UpdatedOn=NOW) == rows
        newest = datetime(2026, 11, 20, 9, 0, 1, tzinfo=UTC)
        assert nexudus.changed_since("coworkers", NOW)[:4] == (NOW, 2, 2, newest)
        assert Changes.of([rows], 2, until=NOW + timedelta(days=1), since=NOW)[:4] == (NOW, 2, 2, newest)


def test_an_id_as_text_is_its_number() -> None:
    with client(listing([{"Id": "17"}, {"Id": 18}])) as nexudus:
        assert nexudus.records("coworkers") == [{"Id": 17}, {"Id": 18}]


@pytest.mark.parametrize("id_", [None, True, "x", "", 1.5, [1]])
def test_records_that_cannot_be_told_apart_are_no_list(id_: Any) -> None:
    serve, _ = replay(httpx.Response(200, json={"Records": [{"Id": 1}, {"Id": id_}], "TotalItems": 2}))
    with client(serve) as nexudus, pytest.raises(TransientError, match="without Records, Ids or TotalItems"):
        nexudus.records("coworkers")


def test_a_batch_is_read_in_chunks_of_100() -> None:
    chunks: list[list[int]] = []

    def serve(request: httpx.Request) -> httpx.Response:
        chunks.append(json.loads(request.url.params["id"]))
        return httpx.Response(200, json=[{"Id": key} for key in chunks[-1]])

    with client(serve, connections=1) as nexudus:
        assert [row["Id"] for row in nexudus.batch("coworkers", list(range(250)))] == list(range(250))
        assert nexudus.batch("coworkers", []) == []
    assert [len(chunk) for chunk in chunks] == [100, 100, 50]


def test_a_record_with_another_id_is_not_the_record() -> None:
    serve, _ = replay(httpx.Response(200, json={"Id": 2}))
    with client(serve) as nexudus, pytest.raises(TransientError, match="something else than this record"):
        nexudus.record("coworkers", 1)
