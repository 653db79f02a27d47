"""What every answer of Nexudus means, and the forms of times, amounts and filters."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipeline.errors import (
    PermanentError,
    RejectedError,
)
from pipeline.services.nexudus.client import minute, moment, outcome, replacement
from pipeline.services.nexudus.wire import UNREADABLE, decode, encode, query, wait_hint
from tests.services.nexudus.answers import (
    CUT,
    ERRORS,
    NO_SLOT,
    NOW,
    OK,
    OOPS,
    READ_TIMEOUT,
    RESET,
    SAMPLES,
    UNREACHED,
    client,
    replay,
    sample,
)

# --- the table --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "body", "said", "read", "write"),
    [
        (200, OK, "", "done", "done"),
        (200, {"Id": 1}, "", "done", "unknown"),
        (200, [], "", "done", "unknown"),
        (200, UNREADABLE, "<html>maintenance", "passing", "unknown"),
        (200, UNREADABLE, '{"Status":200,"WasSucc', "passing", "unknown"),
        (200, {"WasSuccessful": False, "Errors": None}, "", "passing", "unknown"),
        (200, {"WasSuccessful": False, "Errors": []}, "", "passing", "unknown"),
        (200, ERRORS, "", "rejected", "rejected"),
        (201, ERRORS, "", "rejected", "unknown"),
        (204, UNREADABLE, "", "passing", "unknown"),
        (302, UNREADABLE, "Found", "refused", "unknown"),
        (400, ERRORS, "", "rejected", "rejected"),
        (400, OOPS, "", "passing", "unknown"),
        (400, {**ERRORS, "WasSuccessful": True}, "", "passing", "unknown"),
        (400, UNREADABLE, "Bad Request", "passing", "unknown"),
        (401, {"Message": "Access Denied"}, "", "denied", "denied"),
        (403, {"Message": "Forbidden"}, "", "refused", "unknown"),
        (404, "Not found", "Not Found", "missing", "unknown"),
        (404, ERRORS, "", "rejected", "rejected"),
        (404, UNREADABLE, "Not Found <html><body>nginx", "passing", "unknown"),
        (404, {"Message": "No HTTP resource was found"}, "No HTTP resource was found", "passing", "unknown"),
        (405, ERRORS, "", "rejected", "rejected"),
        (405, UNREADABLE, "", "refused", "unknown"),
        (408, UNREADABLE, "", "passing", "unknown"),
        (409, UNREADABLE, "You must wait before accessing this url again.", "throttled", "throttled"),
        (409, UNREADABLE, "Conflict", "passing", "unknown"),
        (422, ERRORS, "", "rejected", "rejected"),
        (429, UNREADABLE, "", "throttled", "throttled"),
        (500, ERRORS, "", "rejected", "unknown"),
        (500, OOPS, "", "passing", "unknown"),
        (502, UNREADABLE, "<html>", "passing", "unknown"),
        (503, UNREADABLE, "", "passing", "unknown"),
        (UNREACHED, None, "", "unreached", "unreached"),
        (NO_SLOT, None, "", "unreached", "unreached"),
        (httpx.ConnectTimeout("slow"), None, "", "unreached", "unreached"),
        (READ_TIMEOUT, None, "", "passing", "unknown"),
        (httpx.WriteTimeout("slow"), None, "", "passing", "unknown"),
        (httpx.WriteError("broken pipe"), None, "", "passing", "unknown"),
        (RESET, None, "", "passing", "unknown"),
        (CUT, None, "", "passing", "unknown"),
        (httpx.DecodingError("gzip"), None, "", "passing", "unknown"),
    ],
)
def test_what_an_answer_means(answer: Any, body: Any, said: str, read: str, write: str) -> None:
    assert outcome("GET", answer, body, said) == read
    assert outcome("POST", answer, body, said) == write
    if not (answer == 404 and write == "unknown"):
        assert outcome("PUT", answer, body, said) == write


@pytest.mark.parametrize(
    ("method", "said", "kind"),
    [
        ("DELETE", "Not found", "done"),
        ("DELETE", "", "done"),
        ("DELETE", "<html>Not found</html>", "unknown"),
        ("PUT", "Not found", "missing"),
        ("PUT", "<!DOCTYPE html>", "unknown"),
        ("POST", "Not found", "unknown"),
        ("GET", "Not found", "missing"),
    ],
)
def test_404_proves_absence_only_when_the_service_itself_says_so(method: str, said: str, kind: str) -> None:
    assert outcome(method, 404, UNREADABLE, said) == kind


@pytest.mark.parametrize(
    ("said", "header", "seconds"),
    [
        ("Too many requests. Wait 3 seconds", "9", 3.0),
        ("wait 0.25 seconds and try again", None, 0.25),
        ("Wait 1 second", None, 1.0),
        ("", "7", 7.0),
        ("", "1.5", 1.5),
        ("", "Fri, 20 Nov 2026 09:00:30 GMT", 30.0),
        ("", "Fri, 20 Nov 2026 08:59:00 GMT", 0.0),
        ("", "soon", None),
        ("You must wait before accessing this url again.", None, None),
    ],
)
def test_the_hint_how_long_to_wait(said: str, header: str | None, seconds: float | None) -> None:
    assert wait_hint(said, header, NOW) == seconds


# --- forms ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-04-06T12:35:24.0050623Z", datetime(2026, 4, 6, 12, 35, 24, 5062, UTC)),
        ("2026-04-06T12:35:11.1Z", datetime(2026, 4, 6, 12, 35, 11, 100_000, UTC)),
        ("2026-08-25T20:41:09Z", datetime(2026, 8, 25, 20, 41, 9, tzinfo=UTC)),
        ("2014-05-21T01:54:48", datetime(2014, 5, 21, 1, 54, 48, tzinfo=UTC)),
        ("2014-05-21T01:54:48.123", datetime(2014, 5, 21, 1, 54, 48, 123_000, UTC)),
        ("2026-11-20T10:00:00+01:00", NOW),
        ("2026-11-20T09:00", NOW),
    ],
)
def test_every_form_of_time(text: str, expected: datetime) -> None:
    assert moment(text) == expected
    assert moment(text).tzinfo is UTC


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01T00:00:00Z", "20.11.2026"])
def test_a_text_that_is_no_time_is_an_error(text: str) -> None:
    with pytest.raises(PermanentError, match="where a time belongs"):
        moment(text)


def test_ranges_of_time_only_grow() -> None:
    time = datetime(2026, 8, 4, 17, 0, 42, 5, tzinfo=UTC)
    assert minute(time) == "2026-08-04T17:00"
    assert minute(time.astimezone(tz=None)) == "2026-08-04T17:00"
    texts = query("coworkers", {"from_Coworker_UpdatedOn": time, "to_Coworker_UpdatedOn": time})
    assert texts == {"from_Coworker_UpdatedOn": "2026-08-04T17:00", "to_Coworker_UpdatedOn": "2026-08-04T17:01"}
    assert query("coworkers", {"to_Coworker_UpdatedOn": NOW}) == {"to_Coworker_UpdatedOn": "2026-11-20T09:00"}


@pytest.mark.parametrize("name", ["Email", "coworker_Email", "UpdatedSince", "Coworker_UpdatedOn[gt]", "PageSize"])
def test_a_filter_that_nexudus_would_ignore_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no filter of coworkers"):
        query("coworkers", {name: 1})


def test_money_stays_exact_in_both_directions() -> None:
    read = decode(b'{"UnitPrice": 0.09000, "Total": 1234567.89}')
    assert read == {"UnitPrice": Decimal("0.09"), "Total": Decimal("1234567.89")}
    assert json.dumps(read, default=encode) == '{"UnitPrice": 0.09, "Total": 1234567.89}'
    assert json.dumps({"SaleDate": NOW}, default=encode) == '{"SaleDate": "2026-11-20T09:00:00Z"}'
    with pytest.raises(TypeError, match="no exact form"):
        json.dumps(Decimal("0.12345678901234567890"), default=encode)


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"Nan", b"\xff\xfe", b"<html>", b"[" * 100_000, b"[1e" + b"9" * 30 + b", " + b"[" * 100_000],
)
def test_what_is_not_json_is_unreadable(text: bytes) -> None:
    assert decode(text) is UNREADABLE


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e" + "9" * 30, "9" * 5000, "-" + "9" * 5000])
def test_a_number_that_nothing_holds_harms_its_field_only(number: str) -> None:
    read = decode(f'[{{"Id": 1, "Uses": {number}}}, {{"Id": 2, "Uses": 5, "Price": 0.10}}]'.encode())
    assert isinstance(read, list)
    assert not read[0].pop("Uses").is_finite()
    assert read == [{"Id": 1}, {"Id": 2, "Uses": 5, "Price": Decimal("0.10")}]


def test_a_record_with_a_number_that_cannot_be_written_is_not_sent() -> None:
    serve, asked = replay(httpx.Response(200, json=OK))
    for number in (Decimal("NaN"), Decimal("1E+400"), Decimal("0.12345678901234567890"), 10**5000):
        with (
            client(serve) as nexudus,
            pytest.raises(RejectedError, match=r"written exactly.*nothing was sent"),
        ):
            nexudus.update("coworkers", {"Id": 1, "Balance": number})
    assert not asked


def test_what_to_put_back_keeps_all_but_the_read_only_keys() -> None:
    credit = sample("03-coworkerextraservice-printing-credit.json")
    back = replacement(credit)
    gone = {"CreatedOn", "UpdatedOn", "UpdatedBy", "UniqueId", "IsNew", "SystemId", "ToStringText"}
    assert credit.keys() - back.keys() == gone | {"LocalizationDetails", "CustomFields"}
    assert back["RemainingUses"] == 500


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_every_sample_parses(path: Path) -> None:
    body = decode(path.read_bytes())
    assert isinstance(body, dict)
    for record in (body, body.get("Value")):
        for key, value in (record or {}).items():
            assert not isinstance(value, float), f"{key} must not be a float"
            if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT.*", value):
                assert moment(value).tzinfo is UTC


def test_the_samples_mean_what_they_say() -> None:
    assert outcome("POST", 200, sample("02-post-coworkerproducts-response.json")) == "done"
    assert outcome("POST", 400, sample("07-validation-error-400.json")) == "rejected"
    assert outcome("DELETE", 200, sample("08-delete-200.json")) == "done"
    head = (SAMPLES / "10-throttle-409-legacy.txt").read_text().splitlines()
    assert outcome("POST", 409, UNREADABLE, head[0].partition("409 ")[2]) == "throttled"
