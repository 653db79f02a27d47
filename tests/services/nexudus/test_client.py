"""The Nexudus client: what every answer means, complete lists, and writes that leave at most once."""

import json
import logging
import re
import socketserver
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import (
    ConfigError,
    MissingError,
    PermanentError,
    PrintbridgeError,
    RejectedError,
    TransientError,
    UnknownOutcomeError,
)
from pipeline.services.http import LONGEST_WAIT, address, exchange, shown
from pipeline.services.nexudus.client import Changes, NexudusClient, minute, moment, outcome, replacement
from pipeline.services.nexudus.wire import UNREADABLE, decode, encode, query, wait_hint

SAMPLES = Path(__file__).parents[2] / "fixtures" / "nexudus"
BASE = "https://spaces.example"
NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
ERRORS = {"Status": 500, "WasSuccessful": False, "Errors": [{"PropertyName": "Email", "Message": "is required"}]}
OOPS = {"Message": "Ooops! There was a problem while running this action"}
Handler = Callable[[httpx.Request], httpx.Response]


def sample(name: str) -> Any:
    return json.loads((SAMPLES / name).read_text("utf-8"))


def client(handler: Handler, *, waits: list[float] | None = None, **options: Any) -> NexudusClient:
    """A client whose network is `handler`; tokens t1, t2, ... are handed out in order."""
    tokens = iter(range(1, 100))

    def serve(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/token":
            return httpx.Response(200, json={"access_token": f"t{next(tokens)}", "expires_in": 604799})
        return handler(request)

    pauses = [] if waits is None else waits
    return NexudusClient(
        BASE, "api@example.com", "pass-word", transport=httpx.MockTransport(serve), wait=pauses.append, **options
    )


def replay(*answers: httpx.Response | Exception) -> tuple[Handler, list[httpx.Request]]:
    """A handler that gives these answers one after the other (the last one for ever), and what it was asked."""
    asked: list[httpx.Request] = []

    def serve(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        answer = answers[min(len(asked), len(answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    return serve, asked


def listing(rows: list[dict[str, Any]], *, size: int = 1000) -> Handler:
    """A list endpoint of these rows, with by-id reading."""

    def serve(request: httpx.Request) -> httpx.Response:
        if found := re.search(r"/(\d+)$", request.url.path):
            match = [row for row in rows if row["Id"] == int(found[1])]
            return httpx.Response(200, json=match[0]) if match else httpx.Response(404, json="Not found")
        page, per = int(request.url.params.get("page", "1")), min(int(request.url.params["size"]), size)
        part = rows[(page - 1) * per : page * per]
        return httpx.Response(200, json={"Records": part, "TotalItems": len(rows)})

    return serve


# --- the table --------------------------------------------------------------------------------------------------------

READ_TIMEOUT = httpx.ReadTimeout("timed out")
RESET = httpx.ReadError("reset")
CUT = httpx.RemoteProtocolError("incomplete body")
UNREACHED = httpx.ConnectError("refused")
NO_SLOT = httpx.PoolTimeout("no connection free")
OK: dict[str, Any] = {"WasSuccessful": True, "Value": {"Id": 1}}


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


# --- sign-in ----------------------------------------------------------------------------------------------------------


def test_the_sign_in_is_a_form_and_happens_once() -> None:
    seen: list[httpx.Request] = []

    def serve(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if request.url.path == "/api/token":
            return httpx.Response(200, json=sample("09-token.json")["ok_200"])
        return httpx.Response(200, json={"Records": [], "TotalItems": 3})

    with NexudusClient(BASE, "api@example.com", "p&ss", transport=httpx.MockTransport(serve)) as nexudus:
        assert [nexudus.count("coworkers"), nexudus.count("coworkers", Coworker_Active=True)] == [3, 3]
    assert [request.url.path for request in seen] == ["/api/token", "/api/spaces/coworkers", "/api/spaces/coworkers"]
    assert seen[0].content == b"grant_type=password&username=api%40example.com&password=p%26ss"
    assert seen[0].headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert seen[2].headers["Authorization"] == "Bearer sample-access-token"
    assert dict(seen[2].url.params) == {"Coworker_Active": "true", "page": "1", "size": "1", "orderBy": "Id"}


def test_a_wrong_password_names_the_variables_and_the_switch() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(400, json=sample("09-token.json")["bad_400"]))
    with (
        NexudusClient(BASE, "api@example.com", "pass-word", transport=transport) as nexudus,
        pytest.raises(ConfigError, match=r"(?s)invalid_grant.*email_env.*password_env.*API Access") as caught,
    ):
        nexudus.count("coworkers")
    assert "pass-word" not in str(caught.value)
    assert "api@" not in str(caught.value)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_old_token_is_replaced_once(method: str) -> None:
    used: list[str] = []

    def serve(request: httpx.Request) -> httpx.Response:
        used.append(request.headers["Authorization"])
        return httpx.Response(200, json=OK) if used[-1] == "Bearer t2" else httpx.Response(401)

    with client(serve) as nexudus:
        assert nexudus.request(method, "billing/coworkerproducts") == OK
    assert used == ["Bearer t1", "Bearer t2"]


def test_a_second_401_names_the_role_and_the_daily_limit_and_does_not_loop() -> None:
    used: list[str] = []

    def serve(request: httpx.Request) -> httpx.Response:
        used.append(request.headers["Authorization"])
        return httpx.Response(401, json={"Message": "Access Denied"})

    with client(serve) as nexudus:
        with pytest.raises(PermanentError, match=r"CoworkerProduct-Create.*daily limit"):
            nexudus.create("coworkerproducts", {})
        with pytest.raises(PermanentError, match="CoworkerProduct-List"):
            nexudus.count("coworkerproducts")
    assert used == ["Bearer t1", "Bearer t2", "Bearer t2"], "one new sign-in, not one for every refused call"


def test_the_token_is_renewed_shortly_before_it_expires() -> None:
    used: list[str] = []
    tokens = iter(["a", "b"])

    def serve(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/token":
            return httpx.Response(200, json={"access_token": next(tokens), "expires_in": 0})
        used.append(request.headers["Authorization"])
        return httpx.Response(200, json={"Records": [], "TotalItems": 0})

    with NexudusClient(BASE, "api@example.com", "x", transport=httpx.MockTransport(serve)) as nexudus:
        nexudus.count("coworkers")
        nexudus.count("coworkers")
    assert used == ["Bearer a", "Bearer b"]


def test_many_threads_sign_in_once() -> None:
    tokens: list[int] = []
    rows = [{"Id": number} for number in range(125)]
    together = threading.Barrier(4)  # all four threads are refused before the first of them can sign in again

    def serve(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/token":
            tokens.append(1)
            return httpx.Response(200, json={"access_token": f"t{len(tokens)}"})
        if request.url.params["page"] != "1" and request.headers["Authorization"] == "Bearer t1":
            together.wait(timeout=10)
            return httpx.Response(401)
        return listing(rows, size=25)(request)

    with NexudusClient(BASE, "api@example.com", "x", transport=httpx.MockTransport(serve)) as nexudus:
        assert len(nexudus.records("coworkers")) == 125
    assert len(tokens) == 2


# --- reads are tried again --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [UNREACHED, READ_TIMEOUT, RESET, CUT, httpx.Response(500, json=OOPS), httpx.Response(200, text="<html>")],
    ids=["connect", "timeout", "reset", "cut", "500", "html"],
)
def test_a_read_gets_over_passing_faults(fault: httpx.Response | Exception) -> None:
    waits: list[float] = []
    serve, asked = replay(fault, fault, httpx.Response(200, json={"Id": 7}))
    with client(serve, waits=waits) as nexudus:
        assert nexudus.record("coworkers", 7) == {"Id": 7}
    assert len(asked) == 3
    assert len(waits) == 2
    assert all(0 < pause < 10 for pause in waits)


def test_a_read_gives_up_and_says_what_was_tried() -> None:
    serve, asked = replay(httpx.Response(503, text="upstream a@b.example down"))
    with (
        client(serve) as nexudus,
        pytest.raises(TransientError, match=r"GET spaces/coworkers.*spaces\.example.*503.*tried 8 times in") as caught,
    ):
        nexudus.count("coworkers")
    assert len(asked) == 8
    assert "What to do: nothing, the next run tries again" in str(caught.value)
    assert "a@b" not in str(caught.value), "foreign texts are shown without e-mail addresses"


def test_a_pause_holds_for_the_whole_client() -> None:
    waits: list[float] = []
    serve, asked = replay(
        httpx.Response(429, text="Wait 2.5 seconds"), httpx.Response(200, json={"Records": [], "TotalItems": 1})
    )
    with client(serve, waits=waits) as nexudus:
        nexudus.count("coworkers")
    assert len(asked) == 2
    assert waits == [pytest.approx(2.5, abs=0.2)]


def test_a_pause_longer_than_a_run_fails_at_once_and_stays_shut() -> None:
    waits: list[float] = []
    serve, asked = replay(httpx.Response(429, headers={"Retry-After": "3600"}))
    with client(serve, waits=waits) as nexudus:
        with pytest.raises(TransientError) as first:
            nexudus.count("coworkers")
        with pytest.raises(TransientError, match="nothing was sent"):
            nexudus.create("coworkerproducts", {})
    assert first.value.wait_seconds == 3600
    assert (len(asked), waits) == (1, []), f"a pause over {LONGEST_WAIT} s is left to a later run"


def test_a_permanent_refusal_is_not_repeated() -> None:
    serve, asked = replay(httpx.Response(403, json={"Message": "Forbidden"}))
    with client(serve) as nexudus, pytest.raises(PermanentError, match=r"Coworker-Read.*base_url"):
        nexudus.record("coworkers", 1)
    assert len(asked) == 1


# --- writes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        READ_TIMEOUT,
        RESET,
        CUT,
        httpx.Response(500, json=OOPS),
        httpx.Response(502, text="<html>"),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, text='{"Status":200,'),
        httpx.Response(200, json={"WasSuccessful": False, "Errors": None}),
        httpx.Response(200, json={"WasSuccessful": True, "Value": None}),
        httpx.Response(400, json=OOPS),
    ],
    ids=["timeout", "reset", "cut", "500", "502", "html", "truncated", "false", "no-id", "400"],
)
def test_a_write_with_an_unclear_answer_is_sent_once(fault: httpx.Response | Exception) -> None:
    serve, asked = replay(fault)
    with client(serve) as nexudus, pytest.raises(UnknownOutcomeError, match="may have been carried out") as caught:
        nexudus.create("coworkerproducts", {"Notes": "secret note"})
    assert len(asked) == 1, "an unclear write must never leave twice"
    assert "secret note" not in str(caught.value)


@pytest.mark.parametrize(
    "fault",
    [
        UNREACHED,
        httpx.Response(429, text="Wait 0.5 seconds"),
        httpx.Response(409, text="You must wait before accessing this url again."),
    ],
    ids=["connect", "429", "409"],
)
def test_a_write_that_was_definitely_not_done_is_sent_again_a_few_times(fault: httpx.Response | Exception) -> None:
    serve, asked = replay(fault, httpx.Response(200, json=sample("02-post-coworkerproducts-response.json")))
    with client(serve) as nexudus:
        assert nexudus.create("coworkerproducts", {"Quantity": 1})["Id"] == 1420000301
    assert len(asked) == 2
    serve, asked = replay(fault)
    with client(serve) as nexudus, pytest.raises(TransientError, match="tried 3 times"):
        nexudus.create("coworkerproducts", {"Quantity": 1})
    assert len(asked) == 3


def test_a_rejection_names_the_fields_and_is_not_repeated() -> None:
    serve, asked = replay(httpx.Response(400, json=sample("07-validation-error-400.json")))
    with client(serve) as nexudus, pytest.raises(RejectedError, match="SimpleTimeZone: may not be null"):
        nexudus.create("coworkerproducts", {})
    assert len(asked) == 1


def test_update_and_delete() -> None:
    serve, asked = replay(httpx.Response(200, json=sample("08-delete-200.json")), httpx.Response(404, json="Not found"))
    with client(serve) as nexudus:
        assert nexudus.update("coworkerextraservices", {"Id": 5, "Price": Decimal("0.10")}) == {}
        nexudus.delete("coworkerproducts", 9)
        with pytest.raises(ValueError, match="needs the Id"):
            nexudus.update("coworkerextraservices", {"Price": 1})
        with pytest.raises(MissingError):
            nexudus.record("coworkerproducts", 9)
    assert [(request.method, request.url.path) for request in asked[:2]] == [
        ("PUT", "/api/billing/coworkerextraservices"),
        ("DELETE", "/api/billing/coworkerproducts/9"),
    ]
    assert asked[0].content == b'{"Id": 5, "Price": 0.1}'


# --- lists ------------------------------------------------------------------------------------------------------------


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
        assert nexudus.changed_since("coworkers", NOW) == (NOW, 2, 2, newest)
        assert Changes.of([rows], 2, until=NOW + timedelta(days=1), since=NOW) == (NOW, 2, 2, newest)


def test_an_id_as_text_is_its_number() -> None:
    with client(listing([{"Id": "17"}, {"Id": 18}])) as nexudus:
        assert nexudus.records("coworkers") == [{"Id": 17}, {"Id": 18}]


@pytest.mark.parametrize("id_", [None, True, "x", "", 1.5, [1]])
def test_records_that_cannot_be_told_apart_are_no_list(id_: Any) -> None:
    serve, _ = replay(httpx.Response(200, json={"Records": [{"Id": 1}, {"Id": id_}], "TotalItems": 2}))
    with client(serve) as nexudus, pytest.raises(TransientError, match="without Records, Ids or TotalItems"):
        nexudus.records("coworkers")


# --- did a list change? -----------------------------------------------------------------------------------------------


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
        assert before == (NOW, 200, 1, NOW)
        assert nexudus.changed_since("coworkers", NOW) == before, "nothing changed"
        service.rows[17] = NOW + timedelta(hours=1)
        assert nexudus.changed_since("coworkers", NOW) == (NOW, 200, 2, NOW + timedelta(hours=1)), "one changed"
        del service.rows[17], service.rows[200]
        assert nexudus.changed_since("coworkers", NOW) == (NOW, 198, 0, None), "one was deleted"
        assert nexudus.changed_since("coworkers", None) == (None, 198, 0, None)
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
        assert before == (NOW, 399, 399, None)
        for seconds in (60, 61, 3600):
            service.rows[7] = NOW + timedelta(seconds=seconds)
            after = nexudus.changed_since("coworkers", NOW)
            assert after == (NOW, 399, 399, NOW + timedelta(seconds=seconds))
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
        assert nexudus.changed_since("coworkers", read.since) == read
        for key, wait in changes:
            clock += timedelta(seconds=1 + (wait or 0))
            if wait is None:
                service.rows.pop(key, None)
            else:
                service.rows[key] = clock
            assert (nexudus.changed_since("coworkers", read.since) == read) == (service.rows == first)


def test_a_batch_is_read_in_chunks_of_100() -> None:
    chunks: list[list[int]] = []

    def serve(request: httpx.Request) -> httpx.Response:
        chunks.append(json.loads(request.url.params["id"]))
        return httpx.Response(200, json=[{"Id": key} for key in chunks[-1]])

    with client(serve, connections=1) as nexudus:
        assert [row["Id"] for row in nexudus.batch("coworkers", list(range(250)))] == list(range(250))
        assert nexudus.batch("coworkers", []) == []
    assert [len(chunk) for chunk in chunks] == [100, 100, 50]


def test_a_sign_in_without_a_token_passes_and_is_tried_again() -> None:
    answers = iter([httpx.Response(200, json={}), httpx.Response(503), httpx.Response(200, json={"access_token": "t"})])

    def serve(request: httpx.Request) -> httpx.Response:
        return next(answers) if request.url.path == "/api/token" else httpx.Response(200, json={"Id": 1})

    with NexudusClient(
        BASE, "a@example.com", "x", transport=httpx.MockTransport(serve), wait=lambda _: None
    ) as nexudus:
        assert nexudus.record("coworkers", 1) == {"Id": 1}


def test_a_record_with_another_id_is_not_the_record() -> None:
    serve, _ = replay(httpx.Response(200, json={"Id": 2}))
    with client(serve) as nexudus, pytest.raises(TransientError, match="something else than this record"):
        nexudus.record("coworkers", 1)


def test_an_untrusted_certificate_is_a_configuration_error() -> None:
    untrusted = httpx.ConnectError("certificate verify failed")
    untrusted.__cause__ = ssl.SSLCertVerificationError("self-signed certificate")
    serve, asked = replay(untrusted)
    with client(serve) as nexudus, pytest.raises(ConfigError, match="certificate is not trusted"):
        nexudus.count("coworkers")
    assert len(asked) == 1


# --- the rest ---------------------------------------------------------------------------------------------------------


def test_the_clock_of_the_service_is_compared_with_ours() -> None:
    serve, _ = replay(httpx.Response(200, headers={"Date": "Fri, 20 Nov 2026 09:00:30 GMT"}, json={"Id": 1}))
    with client(serve, clock=lambda: NOW) as nexudus:
        assert nexudus.skew_seconds is None
        nexudus.record("coworkers", 1)
        assert nexudus.skew_seconds == 30.0


def test_the_log_holds_no_secret_and_no_query(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    serve, _ = replay(httpx.Response(200, json={"Records": [], "TotalItems": 0}))
    with client(serve) as nexudus:
        nexudus.count("coworkers", Coworker_Email="member@example.com")
    assert "GET /api/spaces/coworkers 200" in caplog.text
    for secret in ("member@example.com", "api@example.com", "pass-word", "t1"):
        assert secret not in caplog.text


def test_an_answer_that_trickles_for_ever_is_given_up() -> None:
    with httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, text="drop"))) as http:
        request = http.build_request("GET", BASE)
        assert exchange(http, request, limit=10, seconds=5).content == b"drop"
        with pytest.raises(httpx.ReadTimeout, match="not complete"):
            exchange(http, request, limit=10, seconds=-1)


def test_trying_again_prints_nothing(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    serve, _ = replay(httpx.Response(503), httpx.Response(200, json={"Id": 1}))
    with client(serve) as nexudus:
        nexudus.record("coworkers", 1)
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", ""), "standard output belongs to the command and its --json"
    assert "attempt 1 of 8 failed: GET spaces/coworkers/1" in caplog.text


def test_an_address_is_shown_without_secrets() -> None:
    assert address("https://spaces.example/", key="k") == "spaces.example"
    assert address("http://[::1]:9191/x", key="k") == "[::1]:9191"
    assert address("http://localhost:8080", key="k") == "localhost:8080"
    assert shown("Bearer abc\n for jane.doe@example.com: " + "x" * 400, "abc", "").startswith(
        "Bearer (secret) for (e-mail): xxx"
    )


@pytest.mark.parametrize(
    "url", ["http://spaces.example", "ftp://spaces.example", "spaces.example", "https://user:pw@spaces.example"]
)
def test_an_unsafe_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="base_url") as caught:
        NexudusClient(url, "api@example.com", "x")
    assert "pw" not in str(caught.value)


def test_every_error_can_be_told_from_the_others() -> None:
    kinds: tuple[type[PrintbridgeError], ...] = (TransientError, PermanentError, UnknownOutcomeError)
    assert not any(issubclass(one, other) for one in kinds for other in kinds if one is not other)


@pytest.mark.parametrize("moment_of_death", ["after_head", "after_body", "half_answer"])
def test_a_write_on_a_kept_connection_that_dies_reaches_the_server_once(moment_of_death: str) -> None:
    posts: list[bytes] = []

    class Server(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while line := self.rfile.readline():
                length = 0
                while (header := self.rfile.readline()).strip():
                    if header.lower().startswith(b"content-length:"):
                        length = int(header.split(b":")[1])
                if b"/api/token" in line or line.startswith(b"GET"):
                    self.rfile.read(length)
                    body = b'{"access_token": "t1", "expires_in": 3600, "Id": 1}'
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
                    continue
                posts.append(line)
                if moment_of_death != "after_head":
                    self.rfile.read(length)
                if moment_of_death == "half_answer":
                    self.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"WasSuccessful": true')
                return

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Server) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        base = f"http://127.0.0.1:{server.server_address[1]}"
        with NexudusClient(base, "api@example.com", "x", wait=lambda _: None) as nexudus:
            nexudus.record("coworkers", 1)  # so that the write meets a connection that was used before
            with pytest.raises(UnknownOutcomeError):
                nexudus.create("coworkerproducts", {"Notes": "x" * 1000})
        server.shutdown()
    assert len(posts) == 1, "the client sent a write twice"
