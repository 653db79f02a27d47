"""The PaperCut client: exact types on the wire, faults in our words, complete lists, and writes that leave once."""

import logging
import socketserver
import ssl
import threading
import time
import xmlrpc.client
from collections.abc import Callable
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipeline.errors import (
    ConfigError,
    MissingError,
    PermanentError,
    RejectedError,
    TransientError,
    UnknownOutcomeError,
    UnsafeError,
)
from pipeline.services.papercut.client import READS, WRITES, PaperCutClient
from pipeline.services.papercut.wire import UnreadableError, amount, decode, encode, exact, outcome
from tests.optional import self_signed

SAMPLES = Path(__file__).parents[2] / "fixtures" / "papercut" / "wire"
URL = "https://papercut.example:9192/rpc/api/xmlrpc"
TOKEN = "s3cret-token"
ADDRESS_FAULT = "Access denied. Your IP address is not allowed to access the Web Services API."
NO_METHOD = (
    "java.lang.NoSuchMethodException: biz.papercut.pcng.webservices.xmlrpc.ApiRPCHandler$$EnhancerBySpringCGLIB$$57c7."
)


def value(inner: str) -> bytes:
    head = '<?xml version="1.0"?><methodResponse><params><param><value>'
    return f"{head}{inner}</value></param></params></methodResponse>".encode()


def fault(text: str) -> bytes:
    return xmlrpc.client.dumps(xmlrpc.client.Fault(0, text)).encode("ascii", "xmlcharrefreplace")


class Server:
    """A transport that answers each call by its method, and remembers the calls as (method, arguments)."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        arguments, name = xmlrpc.client.loads(request.content)
        method = (name or "").removeprefix("api.")
        self.calls.append((method, arguments))
        answer = self.answers[method]
        if callable(answer):
            answer = answer(*arguments[1:])
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx.Response):
            return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)
        if isinstance(answer, bytes):
            return httpx.Response(200, content=answer)
        return httpx.Response(200, text=xmlrpc.client.dumps((answer,), methodresponse=True))

    def client(self, waits: list[float] | None = None) -> PaperCutClient:
        pauses = [] if waits is None else waits
        return PaperCutClient(URL, TOKEN, transport=httpx.MockTransport(self), wait=pauses.append)


def paged(names: list[str]) -> Callable[[int, int], list[str]]:
    return lambda offset, limit: names[offset : offset + limit]


# --- the wire ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "read", "write"),
    [
        (200, "answered", "answered"),
        (302, "misplaced", "unknown"),
        (401, "misplaced", "unknown"),
        (404, "misplaced", "unknown"),
        (408, "passing", "unknown"),
        (429, "throttled", "throttled"),
        (500, "passing", "unknown"),
        (503, "passing", "unknown"),
        (httpx.ConnectError("refused"), "unreached", "unreached"),
        (httpx.ConnectTimeout("slow"), "unreached", "unreached"),
        (httpx.PoolTimeout("busy"), "unreached", "unreached"),
        (httpx.ReadTimeout("slow"), "passing", "unknown"),
        (httpx.ReadError("reset"), "passing", "unknown"),
        (httpx.WriteError("broken pipe"), "passing", "unknown"),
        (httpx.RemoteProtocolError("closed"), "passing", "unknown"),
        (UnreadableError("html"), "passing", "unknown"),
    ],
)
def test_what_an_answer_means(answer: Any, read: str, write: str) -> None:
    assert outcome(reads=True, answer=answer) == read
    assert outcome(reads=False, answer=answer) == write


def test_a_call_has_exact_types_and_is_ascii() -> None:
    sent = encode("x", ("é\uffe6 <&>\r\n", 30.0, 30, True, ["a", ["b"]])).decode("ascii")
    for part in (
        "<methodName>api.x</methodName>",
        "<string>&#233;&#65510; &lt;&amp;&gt;&#13;\n</string>",
        "<double>30.0</double>",
        "<int>30</int>",
        "<boolean>1</boolean>",
    ):
        assert part in sent
    assert xmlrpc.client.loads(sent)[0] == ("é\uffe6 <&>\r\n", 30.0, 30, True, ["a", ["b"]])


@pytest.mark.parametrize("argument", [None, Decimal(1), {"a": "b"}, ("a",), b"a", [None]])
def test_a_type_that_papercut_cannot_take_never_leaves(argument: object) -> None:
    with pytest.raises(TypeError, match="PaperCut takes no"):
        encode("x", (argument,))


@pytest.mark.parametrize("text", ["a\x0bb", "\x00", "\ud800", "\uffff", "\U00010000", "x\U0001f600"])
def test_a_character_that_xml_cannot_carry_is_refused_by_its_number(text: str) -> None:
    with pytest.raises(RejectedError, match=r"U\+[0-9A-F]{4}.*nothing was sent"):
        encode("x", (text,))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ok_boolean", True),
        ("ok_double", 1234.56),
        ("ok_empty_list", []),
        ("ok_int", 304),
        ("ok_list", ["alice", "bob"]),
        ("ok_string", "jane_example.com"),
        ("ok_taskstatus", {"completed": True, "message": "Sync complete."}),
    ],
)
def test_every_sample_is_read(name: str, expected: object) -> None:
    assert decode((SAMPLES / f"{name}.xml").read_bytes()) == expected


def test_every_sample_is_known_to_this_test() -> None:
    names = {path.stem for path in SAMPLES.glob("*.xml")}
    assert names == {f"ok_{kind}" for kind in ("boolean", "double", "empty_list", "int", "list", "string")} | {
        "ok_taskstatus",
        "fault_no_such_method",
    }


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("caf&#233;", "café"),
        ("&#55357;&#56832;", "\U0001f600"),
        ("&#xD83D;&#xde00;!", "\U0001f600!"),
        ("&#55200;&#55357;&#56832;&#57344;", "\ud7a0\U0001f600\ue000"),
        ("&#55357;", "\ufffd"),
        ("a&#1;b&#11;c", "a\ufffdb\ufffdc"),
        ("&#9999999;", "\ufffd"),
        ("&#60;b&#62;&#38;amp;", "<b>&amp;"),
        ("&amp;#55357;", "&#55357;"),
        ("x&#13;&#10;y", "x\r\ny"),
    ],
)
def test_character_references_are_read_leniently(written: str, read: str) -> None:
    assert decode(value(written)) == read


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html><body>Down for maintenance</body></html>",
        b"<!DOCTYPE html><html></html>",
        b'<!DOCTYPE a [<!ENTITY x "y">]>' + value("&x;"),
        value("<int>1</int>")[:-20],
        value("<int>one</int>"),
        value("<boolean>2</boolean>"),
        b"<methodResponse><params></params></methodResponse>",
        b"<methodCall><methodName>x</methodName></methodCall>",
        b"<methodResponse><fault><value>text</value></fault></methodResponse>",
        b"\xff\xfe<\x00",
    ],
)
def test_what_is_not_one_value_is_unreadable(content: bytes) -> None:
    with pytest.raises(UnreadableError):
        decode(content)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1234.56", "1234.56"),
        ("12.300000000000001", "12.3"),
        ("1.0E7", "10000000"),
        ("-0.05", "-0.05"),
        ("0.00005", "0.0001"),
        (" 7 ", "7"),
    ],
)
def test_amounts_lose_the_noise_of_doubles(text: str, expected: str) -> None:
    assert amount(text) == Decimal(expected)


@pytest.mark.parametrize("text", ["", "1,234.56", "$5", "NaN", "Infinity"])
def test_a_text_that_is_no_amount_is_an_error(text: str) -> None:
    with pytest.raises(PermanentError, match="where an amount belongs"):
        amount(text)


def test_amounts_leave_exactly_or_not_at_all() -> None:
    assert exact(Decimal("-12.30")) == -12.3
    assert isinstance(exact(30), float)
    with pytest.raises(ValueError, match="no exact double"):
        exact(Decimal("0.12345678901234567890"))


# --- faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        (ADDRESS_FAULT, ConfigError, r"allowed-addresses, separated by a comma, no spaces .*Options > Config Editor"),
        (f"java.lang.Exception: {ADDRESS_FAULT}", ConfigError, "allowed-addresses"),
        ("Invalid authentication token supplied.", ConfigError, r"token_env .*auth\.webservices\.auth-token"),
        (
            "java.lang.Exception: a.b.AuthException: Access denied",
            ConfigError,
            r"refused \(Access denied\).*auth-token",
        ),
        (f"{NO_METHOD}isUserExists(java.lang.String)", ConfigError, "version of PaperCut"),
        ('RPC handler object "api" not found and no default handler registered', ConfigError, "version of PaperCut"),
        ("java.lang.Exception: biz.papercut.FooException: it broke", RejectedError, r"refused \(it broke\)"),
        ("", RejectedError, "isUserExists"),
    ],
)
def test_a_fault_is_said_in_our_words(text: str, error: type[Exception], said: str) -> None:
    server = Server(isUserExists=fault(text))
    with server.client() as papercut, pytest.raises(error, match=said) as caught:
        papercut.user_exists("jane")
    assert len(server.calls) == 1, "a fault is an answer: it is not tried again"
    assert "papercut.example:9192" in str(caught.value)
    assert isinstance(caught.value.__cause__, xmlrpc.client.Fault)
    assert caught.value.__cause__.faultString == text, "the raw text is kept for the error record"


def test_the_token_is_in_no_message_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server = Server(isUserExists=fault(f"no such token {TOKEN} for jane@example.com"))
    with server.client() as papercut, pytest.raises(ConfigError) as caught:
        papercut.user_exists("jane")
    cause = caught.value.__cause__
    assert isinstance(cause, xmlrpc.client.Fault)
    for text in (str(caught.value), repr(caught.value), str(cause), caplog.text):
        assert TOKEN not in text
    assert "jane@" not in str(caught.value)
    assert "POST isUserExists 200" in caplog.text
    assert server.calls == [("isUserExists", (TOKEN, "jane"))], "the token is the first argument"


def test_a_refusal_about_a_user_is_explained_by_asking_whether_there_is_one() -> None:
    gone = Server(getUserProperties=fault("whatever"), isUserExists=False)
    with gone.client() as papercut, pytest.raises(MissingError, match="no such user"):
        papercut.balance("jane")
    there = Server(setUserProperties=fault("Unknown property"), isUserExists=True)
    with there.client() as papercut, pytest.raises(RejectedError, match="Unknown property"):
        papercut.set_properties("jane", {"pin": "1"})


# --- reads and writes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "broken",
    [
        httpx.ReadTimeout("slow"),
        httpx.ConnectError("refused"),
        httpx.Response(500),
        httpx.Response(200, text="<html></html>"),
        httpx.Response(200, content=b"<!DOCTYPE x>"),
    ],
    ids=["timeout", "connect", "500", "html", "doctype"],
)
def test_a_read_is_tried_again_and_then_says_how_often(broken: Any) -> None:
    waits: list[float] = []
    server = Server(getTotalUsers=broken)
    with server.client(waits) as papercut, pytest.raises(TransientError, match=r"getTotalUsers.*9192.*tried 4 times"):
        papercut.total_users()
    assert (len(server.calls), len(waits)) == (4, 3)


@pytest.mark.parametrize(
    "broken",
    [
        httpx.ReadTimeout("slow"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("cut"),
        httpx.Response(500),
        httpx.Response(404),
        httpx.Response(302, headers={"Location": "https://elsewhere.example/"}),
        httpx.Response(200, text="<html></html>"),
        False,
        "ok",
    ],
    ids=["timeout", "reset", "cut", "500", "404", "302", "html", "false", "text"],
)
def test_a_write_with_an_unclear_answer_is_sent_once(broken: Any) -> None:
    server = Server(adjustUserAccountBalance=broken)
    with server.client() as papercut, pytest.raises(UnknownOutcomeError, match="may have been carried out"):
        papercut.adjust_balance("jane", 5, "reference")
    assert len(server.calls) == 1, "an unclear write must never leave twice"


def test_a_write_that_found_no_server_is_definitely_not_done() -> None:
    server = Server(deleteExistingUser=httpx.ConnectError("refused"))
    with server.client() as papercut, pytest.raises(TransientError, match="nothing was sent; tried 2 times"):
        papercut.delete_user("jane")


def test_a_read_that_meets_another_server_says_where_the_address_must_lead() -> None:
    server = Server(getTotalUsers=httpx.Response(404, text="<html>"))
    with server.client() as papercut, pytest.raises(ConfigError, match="/rpc/api/xmlrpc"):
        papercut.total_users()


def test_an_endless_answer_is_cut_off() -> None:
    server = Server(getConfigValue=httpx.Response(200, content=b"x" * (2 * 1024 * 1024 + 1)))
    with server.client() as papercut, pytest.raises(TransientError, match="longer than 2097152 bytes"):
        papercut.config_value("key")


def test_only_known_calls_can_be_made() -> None:
    assert not READS & WRITES
    with Server().client() as papercut, pytest.raises(ValueError, match="not among the calls"):
        papercut.call("performGroupSync")


# --- users ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 999, 1000, 1001, 2500])
def test_the_user_list_is_complete(number: int) -> None:
    names = [f"user{key:05}" for key in range(number)]
    server = Server(getTotalUsers=number, listUserAccounts=paged(["!!template!!", *names]))
    with server.client() as papercut:
        assert papercut.users() == names
    assert all(isinstance(bound, int) for method, args in server.calls if method[0] == "l" for bound in args[1:])


def test_a_server_with_smaller_pages_is_read_to_the_end() -> None:
    names = [f"user{key:04}" for key in range(700)]
    server = Server(getTotalUsers=700, listUserAccounts=lambda offset, limit: names[offset : offset + min(limit, 250)])
    with server.client() as papercut:
        assert papercut.users() == names


def test_a_list_that_changed_while_it_was_read_is_read_again() -> None:
    names = ["ann", "bob"]
    totals = iter([3, 2])
    server = Server(getTotalUsers=lambda: next(totals), listUserAccounts=paged(names))
    with server.client() as papercut:
        assert papercut.users() == names


def test_more_users_than_the_total_are_believed_when_two_readings_agree() -> None:
    server = Server(getTotalUsers=1, listUserAccounts=paged(["ann", "bob"]))
    with server.client() as papercut:
        assert papercut.users() == ["ann", "bob"]


@pytest.mark.parametrize(
    ("names", "total", "error", "said"),
    [
        (["ann"], 2, TransientError, "ended short: 1 of 2"),
        (["ann", "ann"], 2, TransientError, "ended short: 1 of 2"),
        ([], 40, TransientError, "ended short: 0 of 40"),
        ([], 0, UnsafeError, "no users at all"),
        (["!!template!!"], 1, TransientError, "ended short"),
    ],
)
def test_an_empty_or_short_user_list_is_an_error(names: list[str], total: int, error: Any, said: str) -> None:
    server = Server(getTotalUsers=total, listUserAccounts=paged(names))
    with server.client() as papercut, pytest.raises(error, match=said):
        papercut.users()


def test_a_server_that_ignores_the_offset_does_not_hold_us_for_ever() -> None:
    names = [f"user{key:04}" for key in range(1000)]
    server = Server(getTotalUsers=3000, listUserAccounts=lambda *_: names)
    with server.client() as papercut, pytest.raises(TransientError, match="1000 of 3000"):
        papercut.users()


# --- the other calls --------------------------------------------------------------------------------------------------


def test_reading_one_user() -> None:
    server = Server(
        isUserExists=True,
        getUserProperties=lambda _, names: [{"balance": "12.300000000000001", "email": ""}[name] for name in names],
    )
    with server.client() as papercut:
        assert papercut.user_exists("jane") is True
        assert papercut.properties("jane", ["email", "balance"]) == {"email": "", "balance": "12.300000000000001"}
        assert papercut.balance("jane") == Decimal("12.3")


def test_answers_of_the_wrong_kind_are_errors() -> None:
    server = Server(getUserProperties=["one"], isUserExists="yes", getTotalUsers=True, listPrinters=[1])
    with server.client() as papercut:
        for read in (
            lambda: papercut.properties("jane", ["a", "b"]),
            lambda: papercut.user_exists("jane"),
            papercut.total_users,
            papercut.printers,
        ):
            with pytest.raises(PermanentError, match="version of PaperCut"):
                read()


def test_reading_the_server() -> None:
    server = Server(
        getConfigValue="8",
        listPrinters=paged([r"main\Front", "!!template printer!!", r"device\Copier"]),
        getPrinterCostSimple=5.000000000000001,
    )
    with server.client() as papercut:
        assert papercut.config_value("internal-users.self-registration.min-password-length") == "8"
        assert papercut.printers() == [r"main\Front", r"device\Copier"]
        assert papercut.printer_cost("main", "Front") == 5


def test_what_people_read_is_sent_in_the_form_that_papercut_keeps() -> None:
    server = Server(**dict.fromkeys(WRITES, True))
    with server.client() as papercut:
        papercut.create_user("jane", password="1", full_name="\U00020bb7\u91ce \U0001f600", email="j@x.example")
        papercut.set_properties("jane", {"full-name": "  ", "notes": "desk\x0b3", "email": "\U0001f600\U0001f600@x"})
        papercut.adjust_balance("jane", 1, "REF \U0001f600")
    assert [args[1:] for _, args in server.calls] == [
        ("jane", "1", "?\u91ce ?", "j@x.example", "", ""),
        ("jane", [["full-name", ""], ["notes", "desk 3"], ["email", "?@x"]]),
        ("jane", 1.0, "REF ?"),
    ]


def test_what_names_or_lets_in_a_user_is_refused_and_never_changed() -> None:
    odd = "jane\U0001f600"
    server = Server(**dict.fromkeys(WRITES, True), isUserExists=True)
    with server.client() as papercut:
        for write in (
            lambda: papercut.create_user(odd, password="1", full_name="", email=""),
            lambda: papercut.create_user("jane", password=odd, full_name="", email=""),
            lambda: papercut.create_user("jane", password="1", full_name="", email="", card=odd),
            lambda: papercut.set_properties("jane", {"card-pin": odd}),
            lambda: papercut.rename_user("jane", odd),
        ):
            with pytest.raises(RejectedError, match=r"U\+1F600.*nothing was sent"):
                write()
    assert {method for method, _ in server.calls} <= {"isUserExists"}


def test_a_property_that_is_no_text_stands_for_its_text() -> None:
    with Server(getUserProperties=[True, 5, 12.5, "x"]).client() as papercut:
        assert papercut.properties("jane", list("abcd")) == {"a": "true", "b": "5", "c": "12.5", "d": "x"}


def test_writes_have_the_types_that_papercut_wants() -> None:
    server = Server(**dict.fromkeys(WRITES, True))
    with server.client() as papercut:
        papercut.create_user("jane", password="00012345", full_name="Jané", email="jane@example.com", pin="12345")
        papercut.set_properties("jane", {"restricted": "TRUE", "notes": "x"})
        papercut.adjust_balance("jane", Decimal("-12.50"), "REF-1 " + "x" * 300)
        papercut.rename_user("jane", "jane2")
        papercut.delete_user("jane2")
    assert [(method, args[1:]) for method, args in server.calls] == [
        ("addNewInternalUser", ("jane", "00012345", "Jané", "jane@example.com", "", "12345")),
        ("setUserProperties", ("jane", [["restricted", "TRUE"], ["notes", "x"]])),
        ("adjustUserAccountBalance", ("jane", -12.5, "REF-1 " + "x" * 249)),
        ("renameUserAccount", ("jane", "jane2")),
        ("deleteExistingUser", ("jane2",)),
    ]
    assert isinstance(server.calls[2][1][2], float)


def test_the_longer_form_of_a_call_is_used_where_the_shorter_is_missing() -> None:
    def adjust(*arguments: object) -> Any:
        return True if len(arguments) == 4 else fault(f"{NO_METHOD}adjustUserAccountBalance(java.lang.String, ...)")

    server = Server(adjustUserAccountBalance=adjust, isUserExists=True)
    with server.client() as papercut:
        papercut.adjust_balance("jane", 5, "REF-1")
    assert [args[1:] for _, args in server.calls] == [("jane", 5.0, "REF-1"), ("jane", 5.0, "REF-1", "")]


def test_a_missing_method_of_another_name_is_no_reason_to_send_a_write_again() -> None:
    server = Server(adjustUserAccountBalance=fault(f"{NO_METHOD}somethingInside()"))
    with server.client() as papercut, pytest.raises(ConfigError):
        papercut.adjust_balance("jane", 5, "REF-1")
    assert len(server.calls) == 1


# --- connections ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["http://papercut.example:9191/rpc/api/xmlrpc", "papercut.example", "https://u:pw@x/"])
def test_an_unsafe_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="url in") as caught:
        PaperCutClient(url, TOKEN)
    assert "pw" not in str(caught.value)


def test_a_certificate_file_that_is_not_there_names_the_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="set ca_file"):
        PaperCutClient(URL, TOKEN, ca_file=tmp_path / "none.pem")


@pytest.mark.parametrize(
    "answered", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n<?xml"], ids=["none", "half"]
)
def test_a_write_on_a_kept_connection_that_dies_reaches_the_server_once(answered: bytes) -> None:
    arrived: list[str] = []
    connections: list[int] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            connections.append(1)
            while self.rfile.readline():
                length = 0
                while (header := self.rfile.readline()).strip():
                    if header.lower().startswith(b"content-length:"):
                        length = int(header.split(b":")[1])
                method = xmlrpc.client.loads(self.rfile.read(length))[1] or ""
                arrived.append(method)
                if method == "api.adjustUserAccountBalance":
                    self.wfile.write(answered)
                    return
                body = value("<boolean>1</boolean>")
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/rpc/api/xmlrpc"
        with PaperCutClient(url, TOKEN, wait=lambda _: None) as papercut:
            assert papercut.user_exists("jane")
            assert papercut.user_exists("jane")
            with pytest.raises(UnknownOutcomeError):
                papercut.adjust_balance("jane", 5, "REF-1")
        server.shutdown()
    assert arrived == ["api.isUserExists", "api.isUserExists", "api.adjustUserAccountBalance"]
    assert len(connections) == 1, "the connection is kept alive between calls"


def test_a_self_signed_certificate_is_trusted_only_as_a_pin(tmp_path: Path) -> None:
    pin, key = self_signed(tmp_path, "IP:127.0.0.1")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(value("<int>7</int>"))

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pin, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"https://127.0.0.1:{server.server_address[1]}/rpc/api/xmlrpc"
        with PaperCutClient(url, TOKEN, ca_file=pin) as papercut:
            assert papercut.total_users() == 7
        with PaperCutClient(url, TOKEN) as papercut, pytest.raises(ConfigError, match=r"not trusted.*set ca_file"):
            papercut.total_users()
        elsewhere = url.replace("127.0.0.1", "localhost")
        with PaperCutClient(elsewhere, TOKEN, ca_file=pin) as papercut, pytest.raises(ConfigError, match="not trusted"):
            papercut.total_users()
        server.shutdown()


def test_a_connection_is_given_up_before_a_server_closes_it() -> None:
    connections: set[tuple[str, int]] = set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # keeps connections

        def do_POST(self) -> None:
            connections.add(self.client_address)
            self.rfile.read(int(self.headers["Content-Length"]))
            body = value("<boolean>1</boolean>")
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        papercut = PaperCutClient(f"http://127.0.0.1:{server.server_address[1]}/rpc/api/xmlrpc", TOKEN)
        for pause in (0.0, 1.0, 4.0):
            time.sleep(pause)
            assert papercut.user_exists("jane")
            assert len(connections) == (2 if pause == 4.0 else 1), f"after {pause} idle seconds; servers allow 5"
        papercut.close()
        server.shutdown()
