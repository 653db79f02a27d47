"""The session with Nexudus: signing in, patience with reads, writes that leave at most once."""

from __future__ import annotations

import logging
import socketserver
import ssl
import threading
from decimal import Decimal

import httpx
import pytest

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
from pipeline.services.nexudus.client import NexudusClient
from tests.services.nexudus.answers import (
    BASE,
    CUT,
    NOW,
    OK,
    OOPS,
    READ_TIMEOUT,
    RESET,
    UNREACHED,
    client,
    listing,
    replay,
    sample,
)

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


def test_a_sign_in_without_a_token_passes_and_is_tried_again() -> None:
    answers = iter([httpx.Response(200, json={}), httpx.Response(503), httpx.Response(200, json={"access_token": "t"})])

    def serve(request: httpx.Request) -> httpx.Response:
        return next(answers) if request.url.path == "/api/token" else httpx.Response(200, json={"Id": 1})

    with NexudusClient(
        BASE, "a@example.com", "x", transport=httpx.MockTransport(serve), wait=lambda _: None
    ) as nexudus:
        assert nexudus.record("coworkers", 1) == {"Id": 1}


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


def test_an_untrusted_certificate_is_a_configuration_error() -> None:
    untrusted = httpx.ConnectError("certificate verify failed")
    untrusted.__cause__ = ssl.SSLCertVerificationError("self-signed certificate")
    serve, asked = replay(untrusted)
    with client(serve) as nexudus, pytest.raises(ConfigError, match="certificate is not trusted"):
        nexudus.count("coworkers")
    assert len(asked) == 1
