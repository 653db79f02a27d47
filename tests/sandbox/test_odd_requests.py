"""Requests that no program of sense would send: answered or refused, nothing changed when refused, nothing killed.

Source of the odd values: what foreign programs sent in their errors, and the edges of every type on the wire.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.sandbox.papercut import site
from pipeline.sandbox.papercut.server import METHODS
from pipeline.sandbox.switches import PAPERCUT
from pipeline.sandbox.wire import java_double
from tests.nexudus_sandbox import ANNA, LONDON, PRODUCT, WORLD, Api, running_api

MANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SITE: dict[str, Any] = {
    "business_id": LONDON,
    "config": {"print_log_folder": "log", "csv_folder": "csv"},
    "users": [
        {"username": "alice", "balance": 20, "card_number": "77", "department": "Blue"},
        {"username": "bob", "restricted": True, "internal": True},
    ],
    "printers": [{"server": "srv", "name": "Front", "cost_simple": 0.5}],
    "jobs": [{"username": "alice", "cost": 1}],
}

NUMBERS = [
    "0", "-1", "99999999999", "2147483648", "-2147483649", "9223372036854775808", "1e400", "-1e400", "1e-400", "1e308",
    "NaN", "Infinity", "-Infinity", "1e999999999", "0.1", "", " ", "abc", "0x10", "1_000", "٣", "1,5", "9" * 5000,
]  # fmt: skip
TEXTS = [
    *NUMBERS, "alice", "ALICE", "bob", "nobody", "srv", "Front", "\x0b", "a\tb", "😀", "x" * 3000, "null", "true", "[[",
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "balance", "print-stats.job-count", "net-stats.data-mb",
    "user=alice,server=srv,printer=Front,copies=99999999999", "user=alice,server=srv,printer=Front,cost=1e400",
    "user=alice,server=srv,printer=Front,total-pages=abc", "user=alice,server=srv,printer=Front,time=99999999T000000",
    '"user=alice', "user=alice,server=srv,printer=Front,document-size-kb=1e9", "individual", "DAILY", "internal",
]  # fmt: skip
text = st.sampled_from(TEXTS) | st.text(max_size=30)
double = st.floats() | st.sampled_from([1e308, -1e308, 1e15, 0.1])
whole = st.integers(-(2**31), 2**31 - 1)
OF_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "S": text,
    "I": whole,
    "D": double,
    "B": st.booleans(),
    "V": st.lists(st.lists(text, max_size=3) | text | whole, max_size=3),
}
assert site.METHOD_MODULES, "importing them registers their methods"
calls = st.sampled_from(sorted(METHODS)).flatmap(
    lambda key: st.tuples(st.just(key[0]), st.tuples(*(OF_TYPE[letter] for letter in key[1])))
)
odd = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | double.filter(lambda x: x - x == 0) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("odd")


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[Api]:
    with running_api(folder, {**WORLD, "sites": {"london": SITE}}) as api:
        yield api


@pytest.fixture
def api(running: Api) -> Api:
    running.reset()
    running.switch(**{name: values[0] for name, values in PAPERCUT.items()})
    return running


def state(api: Api) -> dict[str, Any]:
    """The servers' truth without the counts."""
    return {name: part for name, part in api.control("GET", "state").items() if name != "calls"}


def written(value: object) -> str:
    """A value of an XML-RPC request; characters that XML may not hold as references."""
    match value:
        case bool():
            return f"<value><boolean>{int(value)}</boolean></value>"
        case int():
            return f"<value><int>{value}</int></value>"
        case float():
            return f"<value><double>{java_double(value)}</double></value>"
        case list() | tuple():
            return f"<value><array><data>{''.join(map(written, value))}</data></array></value>"
        case _:
            return f"<value>{escape(str(value))}</value>"


def call(api: Api, body: bytes) -> httpx.Response:
    return api.plain.post(
        api.ready["sites"]["london"]["papercut_url"], content=body, headers={"Content-Type": "text/xml"}
    )


def request(api: Api, method: str, *arguments: object) -> bytes:
    token = () if method == "getTaskStatus" else (api.ready["sites"]["london"]["token"],)
    params = "".join(f"<param>{written(each)}</param>" for each in (*token, *arguments))
    text = f"<methodCall><methodName>api.{method}</methodName><params>{params}</params></methodCall>"
    return text.encode("utf-8", "replace")


def lives(api: Api) -> bool:
    """Whether the site still reads and writes, its database included."""
    if not call(api, request(api, "isUserExists", "probe")).content.count(b"<boolean>1"):
        call(api, request(api, "addNewInternalUser", "probe", "secret", "", "", "", ""))
    answer = call(api, request(api, "adjustUserAccountBalance", "probe", 0.25, "alive"))
    return answer.status_code == 200 and b"<boolean>1</boolean>" in answer.content


# PaperCut -----------------------------------------------------------------------------------------------------------

LOCKS_OUT = {"setConfigValue"}
"""Anybody may lock everybody out with it, which is no failure of the sandbox."""


@MANY
@given(made=calls.filter(lambda made: made[0] not in LOCKS_OUT))
def test_any_arguments_of_the_right_types_are_answered_and_a_fault_changes_nothing(
    api: Api, made: tuple[str, tuple[object, ...]]
) -> None:
    before = state(api)
    answer = call(api, request(api, made[0], *made[1]))
    if answer.status_code == 500:
        assert b"ParseFailed" in answer.content, "only a request that is no XML is not answered"
    else:
        assert answer.status_code == 200
    if b"<fault>" in answer.content or answer.status_code == 500:
        assert state(api) == before
    assert lives(api)


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("processJob", ("user=alice,server=srv,printer=Front,copies=99999999999",)),
        ("processJob", ("user=alice,server=srv,printer=Front,total-pages=many",)),
        ("processJob", ("user=alice,server=srv,printer=Front,cost=1e400",)),
        ("processJob", ("user=new,unknown=create,server=new,printer=new,document-size-kb=99999999999",)),
        ("setUserProperty", ("alice", "balance", "1e400")),
        ("setUserProperty", ("alice", "print-stats.page-count", "99999999999")),
        ("setUserProperties", ("alice", [["email", "new@example.com"], ["balance", "1e400"]])),
        ("adjustUserAccountBalance", ("alice", float("inf"), "")),
        ("adjustUserAccountBalance", ("alice", float("nan"), "")),
        ("setUserAccountBalanceByGroup", ("!!All Users!!", float("inf"), "")),
        ("setPrinterCostSimple", ("srv", "Front", float("nan"))),
        ("setGroupQuota", ("!!All Users!!", float("inf"), "DAILY", 0.0)),
    ],
)
def test_one_value_out_of_range_is_a_fault_with_nothing_changed(
    api: Api, method: str, arguments: tuple[object, ...]
) -> None:
    before = state(api)
    answer = call(api, request(api, method, *arguments))
    assert (answer.status_code, b"<fault>" in answer.content) == (200, True)
    assert state(api) == before
    assert lives(api)


def test_two_large_balances_do_not_add_up_to_infinity(api: Api) -> None:
    assert b"<fault>" not in call(api, request(api, "setUserAccountBalance", "bob", 1.5e308, "")).content
    before = state(api)
    assert b"out of range" in call(api, request(api, "adjustUserAccountBalance", "bob", 1.5e308, "")).content
    assert state(api) == before
    assert b"<fault>" not in call(api, request(api, "setUserAccountBalance", "bob", 1e15, "")).content
    assert b"<double>1.0E15</double>" in call(api, request(api, "getUserAccountBalance", "bob")).content


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<methodCall>", b"\xff\xfe", b"<methodCall><methodName>api.x</methodName><params><param><value><int>1e9"
        b"</int></value></param></params></methodCall>", b"<!DOCTYPE a><methodCall/>", b"{}", b"<a>" * 20_000,
        b"<methodCall><methodName>api.x</methodName><params><param>" + b"<value><array><data>" * 5000
        + b"</data></array></value>" * 5000 + b"</param></params></methodCall>",
        b"<methodCall><methodName>x</methodName><params><param><value><int>" + b"9" * 9000
        + b"</int></value></param></params></methodCall>",
        b'<?xml version="1.0" encoding="klingon"?><methodCall><methodName>api.x</methodName></methodCall>',
    ],
)  # fmt: skip
@pytest.mark.parametrize("how", ["status_500", "close"])
def test_an_unreadable_request_is_never_a_fault(api: Api, body: bytes, how: str) -> None:
    api.switch(unreadable_request=how)
    if how == "close":
        with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
            call(api, body)
    else:
        answer = call(api, body)
        assert (answer.status_code, b"methodResponse" in answer.content) == (500, False)
    api.switch(unreadable_request="status_500")
    assert lives(api)


# The characters of a request ----------------------------------------------------------------------------------------


def stored(api: Api, sent: str) -> str:
    """What becomes of a full name, written as it is in the request."""
    body = request(api, "setUserProperty", "alice", "full-name", "NAME").replace(b"NAME", sent.encode())
    assert b"<boolean>1</boolean>" in call(api, body).content
    return next(user["full_name"] for user in state(api)["sites"]["london"]["users"] if user["username"] == "alice")


@pytest.mark.parametrize("reader", ["strict", "minml"])
@pytest.mark.parametrize("pair", ["&#55357;&#56832;", "&#xD83D;&#xDE00;", "&#xd83d;&#56832;", "&#055357;&#x0DE00;"])
def test_references_to_two_halves_are_one_character(api: Api, reader: str, pair: str) -> None:
    api.switch(xml_reader=reader)
    assert stored(api, f"a{pair}b") == "a😀b"
    answer = call(api, request(api, "getUserProperty", "alice", "full-name")).content
    assert b"<value>a&#55357;&#56832;b</value>" in answer, "and is written as two again"


def test_the_last_plane_of_unicode_arrives_as_it_is(api: Api) -> None:
    assert stored(api, "\U0010d83d") == "\U0010d83d"


@pytest.mark.parametrize("reader", ["strict", "minml"])
def test_half_a_character_stays_half_and_is_a_question_mark_in_the_database(api: Api, reader: str) -> None:
    api.switch(xml_reader=reader)
    assert stored(api, "a&#55357;b") == "a\ud83db"
    assert b"<value>a&#55357;b</value>" in call(api, request(api, "getUserProperty", "alice", "full-name")).content


@pytest.mark.parametrize(
    ("sent", "minml", "strict"),
    [
        ("&#128512;", "\uf600", "😀"), ("&#x1F600;", "\uf600", "😀"), ("😀", "\uf600", "😀"), ("&#65601;", "A", "𐁁"),
        ("&#26446;&#26126;", "李明", "李明"), ("  ", "", "  "), ("\n\t", "", "\n\t"), (" a ", " a ", " a "),
        ("&#32;", " ", " "), ("é &amp; &lt;b&gt;", "é & <b>", "é & <b>"), ("𠮷野", "\u0bb7野", "𠮷野"),
    ],
)  # fmt: skip
def test_the_default_parser_of_the_library_loses_upper_bits_and_blanks(
    api: Api, sent: str, minml: str, strict: str
) -> None:
    assert stored(api, sent) == strict
    api.switch(xml_reader="minml")
    assert stored(api, sent) == minml


# Nexudus ------------------------------------------------------------------------------------------------------------

PATHS = ["coworkers", "coworkerproducts", "coworkerextraservices", "coworkerinvoices", "businesses", "products"]
MODULES = {"coworkers": "spaces", "businesses": "sys"}


def address(path: str) -> str:
    return f"{MODULES.get(path, 'billing')}/{path}"


def answered(answer: httpx.Response) -> bool:
    """Whether the service gave an answer of its own: JSON, and no accident."""
    return answer.status_code in {200, 400, 404, 405} or "Ooops!" in answer.text


@MANY
@given(
    path=st.sampled_from(PATHS),
    body=st.dictionaries(
        st.sampled_from(["Id", "CoworkerId", "BusinessId", "ProductId", "ExtraServiceId", "Quantity", "Price", "Notes",
                         "SaleDate", "TotalUses", "RemainingUses", "ChargePeriod", "Teams", "AddedTeams", "FullName",
                         "Email", "AddedDesks", "Active", "CoworkerType", "UpdatedOn", "Key", "Ids", "Parameters"]),
        odd,
    ),
    method=st.sampled_from(["POST", "PUT"]),
    base=st.booleans(),
)  # fmt: skip
def test_any_body_is_taken_or_refused(api: Api, path: str, body: dict[str, Any], method: str, base: bool) -> None:
    sale = {"Id": ANNA, "CoworkerId": ANNA, "BusinessId": LONDON, "ProductId": PRODUCT, "Quantity": 1}
    before = state(api)["nexudus"]
    answer = api.client.request(method, address(path), json=(sale if base else {}) | body)
    assert answered(answer), answer.text
    if answer.status_code != 200:
        assert state(api)["nexudus"] == before
    assert answered(api.post(f"{address(path)}/runcommand", body | {"Key": body.get("Key", "COWORKER_BILL_RUN")}))
    assert api.get(address(path), size=1000, orderBy="UpdatedOn").status_code == 200


@MANY
@given(
    path=st.sampled_from(PATHS),
    name=st.sampled_from([
        "page", "size", "orderBy", "dir", "id", "Id", "UniqueId", "Coworker_Email", "Coworker_Teams", "Coworker_Active",
        "from_Coworker_UpdatedOn", "to_CoworkerProduct_Quantity", "CoworkerProduct_Coworker",
        "CoworkerProduct_SaleDate",
        "from_CoworkerProduct_Price", "CoworkerExtraService_ExtraService_Name", "Coworker_", "_", "from_", "to_x_y",
    ]),
    value=text,
)  # fmt: skip
def test_any_query_is_taken_or_refused(api: Api, path: str, name: str, value: str) -> None:
    query = {name: value.encode("utf-8", "replace").decode()}
    assert answered(api.get(address(path), **query))
    assert answered(api.get(f"{address(path)}/", id=f"[{query[name]},{ANNA}]"))
    assert api.plain.get(address(path), auth=httpx.BasicAuth(query[name], "x")).status_code == 401


@pytest.mark.parametrize(
    "authorization", ["Basic é", "Basic ====", "Basic", "Bearer", "", "Basic Zm9v", "Digest x", "Basic /w=="]
)
def test_a_strange_sign_in_is_denied(api: Api, authorization: str) -> None:
    answer = api.plain.get("spaces/coworkers", headers=[(b"Authorization", authorization.encode())])
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b'{"Quantity": 1e999999999}', b'{"Quantity": ' + b"9" * 5000 + b"}", b"\xff", b"NaN", b"[]"],
)
def test_a_strange_body_is_refused(api: Api, body: bytes) -> None:
    for method in ("POST", "PUT"):
        answer = api.client.request(method, "billing/coworkerproducts", content=body)
        assert answer.status_code in {400, 404}, answer.text


# The control interface ----------------------------------------------------------------------------------------------


@MANY
@given(
    path=st.sampled_from(["print", "refund", "nexudus", "switches", "faults", "clock", "world", "papercut"]),
    body=st.dictionaries(
        st.sampled_from(["site", "username", "printer", "pages", "copies", "cost", "at", "job_id", "amount", "form",
                         "entity", "id", "set", "use", "coworker_id", "target", "match", "action", "times", "seconds",
                         "latency_ms", "nexudus", "sites", "offline", "shared_account", "document", "size_kb"]),
        odd | st.sampled_from(["london", "coworkers", "alice", "Front", {}]),
    ),
    good=st.booleans(),
)  # fmt: skip
def test_any_control_request_is_obeyed_or_refused(api: Api, path: str, body: dict[str, Any], good: bool) -> None:
    base: dict[str, dict[str, Any]] = {
        "print": {"site": "london", "username": "alice", "printer": "Front", "cost": 1},
        "refund": {"site": "london", "job_id": 1},
        "nexudus": {"entity": "coworkers", "id": ANNA},
        "faults": {"target": "london", "match": "api.never", "action": "status"},
    }
    before = state(api)
    content = json.dumps((base.get(path, {}) if good else {}) | body).encode()
    method = "PUT" if path == "world" else "POST"
    answer = api.plain.request(method, f"{api.control_url}/{path}", content=content)
    assert answer.status_code in {200, 400, 404}, answer.text
    if answer.status_code == 400:
        assert state(api) == before
    api.reset()
    assert api.get("spaces/coworkers", orderBy="UpdatedOn").status_code == 200
    assert lives(api)


GOOD = '{"site": "london", "username": "alice", "cost": 1}'


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("print", f'[{GOOD}, {GOOD[:-1]}, "copies": "x"}}]'),
        ("print", '{"site": "london", "username": "alice", "cost": 1e400}'),
        ("print", '{"site": "london", "username": "alice", "job_id": 9223372036854775808}'),
        ("print", '{"site": "london", "username": "alice", "copies": 99999999999}'),
        ("print", '{"site": "london", "username": "alice", "at": "0001-01-01T00:00:00+14:00"}'),
        ("print", '{"site": "london", "username": "alice", "document": "a\\u0000b"}'),
        ("print", '{"site": "london", "username": "new", "create_user": true, "shared_account": "none"}'),
        ("refund", '{"site": "london", "job_id": 1, "amount": 1e400}'),
        ("refund", '{"site": "london", "job_id": 1, "amount": "NaN"}'),
        ("clock", '{"advance_seconds": 1e18}'),
        ("clock", '{"advance_seconds": NaN}'),
        ("nexudus", '{"entity": "products", "set": {"Price": "cheap"}}'),
        ("nexudus", '{"entity": "coworkers", "set": {"Id": 1.5}}'),
        ("world", '{"nexudus": {"coworkers": [{"Id": 5}], "products": [{"Price": "cheap"}]}}'),
        ("world", "[" * 100_000),
    ],
)
def test_a_control_request_out_of_range_is_refused_with_nothing_changed(api: Api, path: str, content: str) -> None:
    before = state(api)
    method = "PUT" if path == "world" else "POST"
    answer = api.plain.request(method, f"{api.control_url}/{path}", content=content)
    assert (answer.status_code, list(answer.json())) == (400, ["error"])
    assert state(api) == before
    assert lives(api)


def test_the_files_have_no_line_of_a_job_that_was_refused(api: Api, folder: Path) -> None:
    job = {"site": "london", "username": "alice", "printer": "Front", "cost": 1, "at": "2026-03-04T05:06:07Z"}
    refused = api.plain.post(f"{api.control_url}/print", json=[job | {"document": "lost"}, job | {"copies": "x"}])
    assert refused.status_code == 400
    api.control("POST", "print", job | {"document": "kept"})
    for name in ("log/printlog_2026_03_04.log", "csv/papercut-print-log-2026-03-04.csv"):
        text = (folder / name).read_text("utf-8")
        assert ("lost" in text, "kept" in text) == (False, True)
