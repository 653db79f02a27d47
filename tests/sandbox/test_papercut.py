"""The sandbox's PaperCut: bytes on the wire, rules, and the database behind it."""

from __future__ import annotations

import asyncio
import csv
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xmlrpc.client
from collections.abc import Callable, Coroutine, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pipeline.sandbox import wire
from pipeline.sandbox.core import Clock, Core, Fault
from pipeline.sandbox.database import TABLES, Cluster
from pipeline.sandbox.papercut import PaperCutSite, call_name

SAMPLES = Path(__file__).parents[1] / "fixtures" / "papercut" / "wire"
LOCAL = "127.0.0.1"
WORLD: dict[str, Any] = {
    "config": {"auth.webservices.auth-token": "t0ken", "timezone": "Europe/London"},
    "users": [
        {"username": "alice", "full_name": "Alice", "email": "alice@example.com", "balance": 20, "card_number": "77"},
        {"username": "bob", "balance": 5, "restricted": True, "internal": True, "password": "00012345", "pin": "12345"},
    ],
    "printers": [{"server": "srv", "name": "Front", "cost_simple": 0.5}],
}


class Bench:
    """One running cluster in a thread with its own event loop, so that tests stay plain functions."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.cluster = Cluster(folder)
        self.run(self.cluster.start())

    def run(self, task: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(task, self.loop).result(30)

    def close(self) -> None:
        self.run(self.cluster.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


class Client:
    """A site and the ways in: calls, SQL, and the clock."""

    def __init__(self, bench: Bench, name: str, world: dict[str, Any], **switches: Any) -> None:
        self.bench = bench
        self.core = Core(Clock.starting_at("2026-11-20T10:00:00Z"), switches)
        self.server = PaperCutSite(self.core, name, world, bench.cluster, bench.folder)
        bench.run(self.server.start())
        self.engine = sa.create_engine(self.server.jobs_uri)

    def raw(self, method: str, *arguments: Any, address: str = LOCAL) -> bytes:
        body = xmlrpc.client.dumps(arguments, method).encode()
        return self.bench.run(self.server.rpc(body, address))

    def call(self, method: str, *arguments: Any) -> Any:
        return xmlrpc.client.loads(self.raw(f"api.{method}", "t0ken", *arguments))[0][0]

    def fault(self, method: str, *arguments: Any) -> str:
        with pytest.raises(xmlrpc.client.Fault) as caught:
            self.call(method, *arguments)
        assert caught.value.faultCode == 0
        return caught.value.faultString

    def sql(self, text: str, **values: Any) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(text), values)]

    def user(self, name: str) -> dict[str, Any]:
        return next(user for user in self.server.state()["users"] if user["username"] == name)

    def close(self) -> None:
        self.engine.dispose()
        self.bench.run(self.server.stop())


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL's system user can reach: pytest closes its own for everybody else."""
    with tempfile.TemporaryDirectory(prefix="printbridge-test-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def bench(folder: Path) -> Iterator[Bench]:
    bench = Bench(folder)
    yield bench
    bench.close()


@pytest.fixture(scope="module")
def shared(bench: Bench) -> Iterator[Client]:
    """A site for tests that leave its users alone: a database of its own costs more than most tests."""
    client = Client(bench, "shared", WORLD)
    yield client
    client.close()


@pytest.fixture
def switched(shared: Client) -> Iterator[Callable[..., Client]]:
    """The shared site with switches set."""

    def switch(**switches: Any) -> Client:
        shared.core.switches.clear()
        shared.core.switches.update(switches)
        return shared

    yield switch
    shared.core.switches.clear()


@pytest.fixture
def make(bench: Bench, request: pytest.FixtureRequest) -> Iterator[Any]:
    clients: list[Client] = []

    def create(world: dict[str, Any] | None = None, **switches: Any) -> Client:
        name = f"{re.sub(r'[^a-z]', '-', request.node.name)[:30]}-{os.urandom(3).hex()}"
        clients.append(Client(bench, name, WORLD if world is None else world, **switches))
        return clients[-1]

    yield create
    for client in clients:
        client.close()


@pytest.fixture
def site(make: Any) -> Client:
    return make()


def sample(name: str) -> bytes:
    return (SAMPLES / f"{name}.xml").read_bytes().splitlines()[0]


# Bytes


@pytest.mark.parametrize(
    ("name", "value"),
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
def test_a_response_has_the_bytes_of_the_sample(name: str, value: Any) -> None:
    assert wire.response(value) == sample(name)


def test_calls_answer_with_the_bytes_of_the_samples(shared: Client) -> None:
    shared.call("performUserAndGroupSync")
    assert shared.raw("api.getTaskStatus") == sample("ok_taskstatus")
    assert shared.raw("api.listUserAccounts", "t0ken", 0, 100) == sample("ok_list")
    assert shared.raw("api.listUserAccounts", "t0ken", 100, 100) == sample("ok_empty_list")
    assert shared.raw("api.isUserExists", "t0ken", "ALICE") == sample("ok_boolean")
    answer = shared.raw("api.getUserProperties", "t0ken", "alice", "email", "notes")
    assert answer == sample("fault_no_such_method")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (30.0, "30.0"), (1e7, "1.0E7"), (0.001, "0.001"), (0.0001, "1.0E-4"), (-5.25, "-5.25"), (0.0, "0.0"),
        (12.1 + 0.200000000000001, "12.3"), (4.1 + 8.2, "12.299999999999999"), (12345678.9, "1.23456789E7"),
        (float("nan"), "NaN"), (float("-inf"), "-Infinity"),
    ],
)  # fmt: skip
def test_doubles_are_written_as_java_does(number: float, text: str) -> None:
    assert wire.java_double(number) == text


def test_text_is_ascii_with_decimal_references_and_surrogate_pairs(site: Client) -> None:
    site.call("setUserProperty", "alice", "notes", 'é <&> "q" 😀\tx\ny')
    answer = site.raw("api.getUserProperty", "t0ken", "alice", "notes")
    assert b'<value>&#233; &lt;&amp;&gt; "q" &#55357;&#56832;\tx\ny</value>' in answer
    assert wire.response("a\rb\x01") == sample("ok_string").replace(b"jane_example.com", b"a&#13;b&#1;")


def test_requests_may_have_white_space_a_declaration_and_untyped_strings(shared: Client) -> None:
    body = """<?xml version="1.0" encoding="UTF-8"?>
        <methodCall> <methodName>api.getUserProperty</methodName>
        <params> <param> <value>t0ken</value> </param> <param><value> <string>alice</string> </value></param>
        <param><value>full-name</value></param> </params> </methodCall>"""
    assert call_name(body.encode()) == "api.getUserProperty"
    assert b"<value>Alice</value>" in shared.bench.run(shared.server.rpc(body.encode(), LOCAL))


@pytest.mark.parametrize("body", [b"", b"<methodCall>", b"<html/>", b"<!DOCTYPE a [<!ENTITY b 'c'>]><methodCall/>"])
def test_a_body_that_is_not_xml_rpc_has_no_answer(shared: Client, body: bytes) -> None:
    with pytest.raises(wire.ParseError):
        shared.bench.run(shared.server.rpc(body, LOCAL))


# Dispatch and access

S = "java.lang.String"


@pytest.mark.parametrize(
    ("method", "arguments", "types"),
    [
        ("getUserProperties", ("t0ken", "alice", "a", "b"), f"{S}, {S}, {S}, {S}"),
        ("adjustUserAccountBalance", ("t0ken", "alice", 30, "x"), f"{S}, {S}, int, {S}"),
        ("isUserExists", ("t0ken", True), f"{S}, boolean"),
        ("isUserExists", (["t0ken"], {"a": 1}), "java.util.Vector, java.util.Hashtable"),
        ("isUserExists", (1.5,), "double"),
        ("getTaskStatus", ("t0ken",), S),
        ("listUserAccounts", ("t0ken", "0", "10"), f"{S}, {S}, {S}"),
        ("noSuchThing", (), ""),
    ],
)  # fmt: skip
def test_wrong_names_and_types_are_no_such_method(shared: Client, method: str, arguments: Any, types: str) -> None:
    answer = shared.raw(f"api.{method}", *arguments)
    wanted = sample("fault_no_such_method").replace(b"getUserProperties(", f"{method}(".encode())
    assert answer == re.sub(rb"\([^)]*\)", f"({types})".encode(), wanted)


def test_an_unknown_prefix_has_no_handler(switched: Callable[..., Client]) -> None:
    request = [{"methodName": "api.isUserExists", "params": ["t0ken", "bob"]}, {"methodName": "api.x", "params": []}]
    text = b'java.lang.Exception: RPC handler object "system" not found and no default handler registered'
    assert text in switched().raw("system.multicall", request)
    assert b"<boolean>1</boolean>" in switched(multicall="on").raw("system.multicall", request)


def test_the_address_is_checked_before_the_token(site: Client) -> None:
    assert b"<value>Access denied. Your IP" in site.raw("api.isUserExists", "wrong", "alice", address="10.0.0.9")
    assert b"java.lang.NoSuchMethodException" in site.raw("api.isUserExists", "wrong", address="10.0.0.9")
    assert b"Access denied" in site.raw("api.getTaskStatus", address="10.0.0.9")
    assert b"Invalid authentication token" in site.raw("api.isUserExists", "wrong", "alice")
    site.call("setConfigValue", "auth.webservices.allowed-addresses", "127.0.0.1, 10.0.0.9")
    assert b"Access denied" in site.raw("api.isUserExists", "t0ken", "alice", address="10.0.0.9")
    site.call("setConfigValue", "auth.webservices.allowed-addresses", "127.0.0.1,10.0.0.9")
    assert site.raw("api.isUserExists", "t0ken", "alice", address="10.0.0.9") == sample("ok_boolean")


@pytest.mark.parametrize("setting", ["plain", '["first", "plain"]', '{"default": "old", "bridge": "plain"}'])
def test_the_token_setting_has_three_forms(make: Any, setting: str) -> None:
    site = make({**WORLD, "config": {"auth.webservices.auth-token": setting}})
    assert site.raw("api.isUserExists", "plain", "alice") == sample("ok_boolean")
    assert site.raw("api.isUserExists", site.server.token, "alice") == sample("ok_boolean")
    assert b"<fault>" in site.raw("api.isUserExists", "other", "alice")


def test_fault_texts_and_prefix_are_switches(switched: Callable[..., Client]) -> None:
    site = switched(fault_prefix="none", fault_text_unknown_user="No {name} here")
    assert site.fault("getUserProperty", "carol", "email") == "No carol here"
    assert switched().fault("getUserAccountBalance", "carol").startswith("java.lang.Exception: biz.papercut.")


def test_an_unknown_configuration_key_is_an_empty_string(shared: Client) -> None:
    assert shared.call("getConfigValue", "no.such.key") == ""
    assert shared.call("getConfigValue", "internal-users.self-registration.min-password-length") == "8"


# Users


def test_create_lowers_the_name_and_is_written_before_the_answer(site: Client) -> None:
    jane = ("Jane@Example.com", "00054321", "Jané", "jane@example.com", "", "54321")
    assert site.call("addNewInternalUser", *jane) is True
    query = "SELECT user_name, full_name, internal, deleted, created_date FROM tbl_user WHERE email LIKE 'jane@%'"
    [(*texts, created)] = site.sql(query)
    assert texts == ["jane@example.com", "Jané", "Y", "N"]
    assert created.isoformat()[:16] == "2026-11-20T10:00"
    assert site.user("jane@example.com")["password"] == "00054321"
    assert not site.server.sign_in("jane@example.com", "00054321"), "PaperCut cuts a name at @"
    assert site.server.sign_in("bob", "00012345")
    assert "already exists" in site.fault("addNewInternalUser", "JANE@example.com", "x", "", "", "", "")


def test_properties_are_strings_in_the_order_asked(site: Client) -> None:
    names = ["balance", "restricted", "internal", "disabled-print", "email", "primary-card-number", "overdraft-amount"]
    values = ["20.0", "false", "false", "false", "alice@example.com", "77", "0.0"]
    assert site.call("getUserProperties", "alice", names) == values
    pairs = [["restricted", "TRUE"], ["notes", "n"], ["disabled-print", "true"], ["balance", "7.5"], ["card-pin", "9"]]
    assert site.call("setUserProperties", "alice", pairs) is True
    names = ["restricted", "disabled-print", "balance"]
    assert site.call("getUserProperties", "alice", names) == ["true", "true", "7.5"]
    assert site.user("alice") == {
        "username": "alice", "full_name": "Alice", "email": "alice@example.com", "balance": 7.5, "restricted": True,
        "disabled_print": True, "internal": False, "notes": "n", "password": "", "pin": "9", "card_number": "77",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["pin", "card-pin", "password", "nonsense"])
def test_pins_passwords_and_unknown_properties_cannot_be_read(shared: Client, name: str) -> None:
    assert name in shared.fault("getUserProperty", "bob", name)


def test_look_ups_and_paging(shared: Client) -> None:
    assert shared.call("lookUpUserNameByCardNo", "77") == "alice"
    assert shared.call("lookUpUserNameByEmail", "ALICE@example.com") == "alice"
    assert shared.call("lookUpUserNameByCardNo", "") == shared.call("lookUpUserNameByEmail", "x@example.com") == ""
    assert shared.call("getTotalUsers") == 2
    assert shared.call("listUserAccounts", 1, 1) == ["bob"]


def test_delete_is_soft_and_the_name_is_free_again(make: Any) -> None:
    site = make()
    assert site.call("deleteExistingUser", "bob") is True
    assert site.call("listUserAccounts", 0, 10) == ["alice"]
    query = """SELECT u.deleted, a.deleted, u.deleted_date IS NOT NULL
        FROM tbl_user u JOIN tbl_user_account USING (user_id) JOIN tbl_account a USING (account_id)
        WHERE user_name = 'bob' ORDER BY user_id"""
    assert site.sql(query) == [("Y", "Y", True)]
    site.call("addNewInternalUser", "bob", "secret", "", "", "", "")
    assert site.sql(query) == [("Y", "Y", True), ("N", "N", False)]
    assert site.user("bob")["balance"] == 0


def test_rename_keeps_everything_else(site: Client) -> None:
    site.call("renameUserAccount", "alice", "Alice_Example.com")
    assert site.user("alice_example.com")["card_number"] == "77"
    assert site.sql("SELECT account_name FROM tbl_account WHERE account_type = 'USER' ORDER BY 1") == [
        ("alice_example.com",), ("bob",)
    ]  # fmt: skip


CREATE = ("carol", "12345", "", "", "77", "1a")


@pytest.mark.parametrize(
    ("switches", "fails"),
    [
        ({}, None),
        ({"internal_disabled": "fault"}, "not enabled"),
        ({"password_min": 6}, "at least 6"),
        ({"password_min": "config"}, "at least 8"),
        ({"pin_rule": "digits"}, "PIN"),
        ({"pin_rule": 4}, "PIN"),
        ({"duplicate_card": "fault"}, "Card number"),
        ({"licence_limit": 2}, "licensed"),
        ({"licence_limit": 2, "licence_over": "allow_and_warn"}, None),
        ({"create_arity": 7}, "NoSuchMethodException"),
    ],
)
def test_the_unknowns_of_creating_a_user_are_switches(
    switched: Callable[..., Client], switches: dict[str, Any], fails: str | None
) -> None:
    site = switched(**switches)
    if fails:
        assert fails in site.fault("addNewInternalUser", *CREATE)
        assert not site.call("isUserExists", "carol")
    else:
        assert site.call("addNewInternalUser", *CREATE) is True
        site.call("deleteExistingUser", "carol")


def test_more_switches_about_users(make: Any) -> None:
    site = make(recreate="revive", initial_credit="2.50", clear_card="space_only", string_int="empty_list")
    site.call("deleteExistingUser", "alice")
    site.call("addNewInternalUser", "alice", "secret", "", "", "", "")
    assert site.user("alice")["balance"] == 22.5
    site.call("setUserProperty", "alice", "primary-card-number", "")
    assert site.user("alice")["card_number"] == "77"
    site.call("setUserProperty", "alice", "primary-card-number", " ")
    assert site.user("alice")["card_number"] == ""
    assert site.call("listUserAccounts", "0", "10") == []


# Balances


def test_adjust_writes_the_ledger(site: Client) -> None:
    assert site.raw("api.adjustUserAccountBalance", "t0ken", "bob", -7.25, "ref 1") == sample("ok_boolean")
    assert site.call("adjustUserAccountBalance", "bob", 0.1, "ref 2", "") is True
    assert site.raw("api.getUserAccountBalance", "t0ken", "bob") == sample("ok_double").replace(b"1234.56", b"-2.15")
    rows = site.sql("SELECT amount, balance, txn_comment, transaction_type FROM tbl_account_transaction ORDER BY 1")
    assert rows == [(-7.25, -2.25, "ref 1", "ADJUST"), (0.1, -2.15, "ref 2", "ADJUST")]
    first = site.server.state()["transactions"][0]
    assert first.pop("at").startswith("2026-11-20T10:00")
    assert first == {"username": "bob", "amount": -7.25, "balance": -2.25, "comment": "ref 1"}
    assert site.call("adjustUserAccountBalanceIfAvailable", "alice", -20.5, "", "") is False
    assert site.call("adjustUserAccountBalanceIfAvailable", "alice", -20.0, "", "") is True
    assert site.call("setUserAccountBalance", "alice", 3.0, "") is True
    assert site.user("alice")["balance"] == 3


# Jobs


def test_a_job_is_charged_and_visible_in_the_database(site: Client) -> None:
    request = {"username": "Alice", "printer": "Front", "pages": 3, "color_pages": 1, "copies": 2, "cost": "0.125"}
    answer = site.server.print_job({**request, "at": "2026-07-01T23:30:00Z", "document": "r.pdf"})
    assert answer == {"job_id": 1, "allowed": True, "balance": 19.875}
    query = """SELECT l.printer_usage_log_id, user_name, usage_date, usage_day, usage_cost, original_usage_cost,
        l.total_pages, total_color_pages, copies, usage_allowed, printed, refunded, job_type, account_type, printer_name
        FROM tbl_printer_usage_log l JOIN tbl_user ON user_id = used_by_user_id
        JOIN tbl_account ON account_id = charged_to_account_id JOIN tbl_printer USING (printer_id)"""
    local = datetime.fromisoformat("2026-07-02T00:30:00")
    start = (1, "alice", local, local.date(), 0.125, 0.125)
    assert site.sql(query) == [(*start, 6, 2, 2, "Y", "Y", "N", "PRINT", "USER", "Front")]
    query = "SELECT amount, usage_log_id, transaction_type FROM tbl_account_transaction"
    assert site.sql(query) == [(-0.125, 1, "PRINT")]
    job = {"job_id": 1, "username": "alice", "cost": 0.125, "allowed": True, "printed": True, "refunded": False}
    assert site.server.state()["jobs"] == [{**job, "at": "2026-07-01T23:30:00+00:00"}]
    assert site.sql("SELECT total_jobs, total_pages FROM tbl_user WHERE user_name = 'alice'") == [(1, 6)]


def test_a_restricted_user_without_credit_is_refused(site: Client) -> None:
    assert site.server.print_job({"username": "bob", "cost": 5}) == {"job_id": 1, "allowed": True, "balance": 0}
    assert site.server.print_job({"username": "bob", "cost": 0.01}) == {"job_id": 2, "allowed": False, "balance": 0}
    assert site.sql("SELECT usage_allowed, printed, usage_cost FROM tbl_printer_usage_log ORDER BY usage_cost") == [
        ("N", "N", 0.01), ("Y", "Y", 5)
    ]  # fmt: skip
    site.call("setUserOverdraftMode", "bob", "individual")
    site.call("setUserProperty", "bob", "overdraft-amount", "2")
    assert site.server.print_job({"username": "bob", "cost": 2})["balance"] == -2


def test_a_disabled_user_is_refused_until_the_minutes_are_over(site: Client) -> None:
    site.call("disablePrintingForUser", "alice", 10)
    assert site.server.print_job({"username": "alice", "cost": 1})["allowed"] is False
    site.core.clock.advance(600)
    assert site.server.print_job({"username": "alice", "cost": 1})["allowed"] is True


def test_an_unknown_user_is_an_error_unless_asked_for(site: Client) -> None:
    assert "carol" in site.server.print_job({"username": "carol", "cost": 1})["error"]
    assert site.server.print_job({"username": "carol", "cost": 1, "create_user": True})["balance"] == -1
    assert site.user("carol")["internal"] is False


def test_a_job_that_was_never_released_has_a_cost_but_no_charge(site: Client) -> None:
    assert site.server.print_job({"username": "alice", "cost": 4, "printed": False})["balance"] == 20
    query = "SELECT printed, usage_allowed, usage_cost, denied_reason FROM tbl_printer_usage_log"
    assert site.sql(query) == [("N", "Y", 4, "RELEASE_STATION_TIMEOUT")]


def test_a_refund_gives_the_cost_back_once(site: Client) -> None:
    site.server.print_job({"username": "alice", "cost": 4})
    assert site.server.refund({"job_id": 1}) == {
        "job_id": 1,
        "allowed": True,
        "balance": 20,
        "refunded": True,
        "cost": 4,
    }
    assert site.sql("SELECT refunded, usage_cost FROM tbl_printer_usage_log") == [("Y", 4)]
    assert "error" in site.server.refund({"job_id": 1})
    assert "error" in site.server.refund({"job_id": 99})


@pytest.mark.parametrize(("style", "row"), [("lower_cost", ("N", 2.5)), ("set_flag", ("Y", 4)), ("both", ("Y", 2.5))])
def test_a_partial_refund_shows_by_switch(make: Any, style: str, row: tuple[str, float]) -> None:
    site = make(partial_refund=style)
    site.server.print_job({"username": "alice", "cost": 4})
    assert site.server.refund({"job_id": 1, "amount": "1.5"})["balance"] == 17.5
    query = "SELECT refunded, usage_cost, original_usage_cost, refund_status FROM tbl_printer_usage_log"
    assert site.sql(query) == [(*row, 4, "PARTIALLY_REFUNDED")]


def test_a_job_can_change_afterwards(site: Client) -> None:
    site.server.print_job({"username": "alice", "cost": 4})
    assert site.server.print_job({"job_id": 1, "cost": 1, "cancelled": True})["balance"] == 19
    query = "SELECT usage_cost, original_usage_cost, cancelled FROM tbl_printer_usage_log"
    assert site.sql(query) == [(1, 4, "Y")]


def test_late_rows_come_with_a_new_id_and_an_old_date(make: Any) -> None:
    site = make(offline_rows=60)
    job = {"username": "alice", "cost": 1}
    assert site.server.print_job({**job, "offline": True})["job_id"] is None
    assert site.server.print_job(job)["job_id"] == 1
    assert site.sql("SELECT count(*) FROM tbl_printer_usage_log") == [(1,)]
    site.core.clock.advance(60)
    rows = site.sql("SELECT printer_usage_log_id, offline_usage, usage_date FROM tbl_printer_usage_log ORDER BY 1")
    assert [row[:2] for row in rows] == [(1, "N"), (2, "Y")]
    assert rows[1][2] < rows[0][2]


def test_process_job_logs_and_charges(site: Client) -> None:
    details = 'user=alice,server=srv,printer=Front,time=20261029T101500,cost=1.5,total-pages=3,"document-name=a, ""b"""'
    assert site.call("processJob", details) is True
    assert site.sql("SELECT usage_date, total_pages, document_name FROM tbl_printer_usage_log") == [
        (datetime.fromisoformat("2026-10-29T10:15:00"), 3, 'a, "b"')
    ]
    assert site.user("alice")["balance"] == 18.5
    assert "nobody" in site.fault("processJob", "user=nobody,server=srv,printer=Front")
    assert "Back" in site.fault("processJob", "user=alice,server=srv,printer=Back")


def test_shared_accounts_pay_for_their_jobs(site: Client) -> None:
    site.call("addNewSharedAccount", "Projects\\Alpha")
    job = {"username": "alice", "cost": 3, "shared_account": "projects\\alpha"}
    assert site.server.print_job(job)["balance"] == 20
    assert site.call("getSharedAccountAccountBalance", "Projects\\Alpha") == -3.0
    assert site.call("listSharedAccounts", 0, 10) == ["Projects", "Projects\\Alpha"]
    query = """SELECT account_type, sub_name
        FROM tbl_printer_usage_log JOIN tbl_account ON account_id = charged_to_account_id"""
    assert site.sql(query) == [("SHARED", "Alpha")]


def test_groups_and_printers(site: Client) -> None:
    site.call("addNewGroup", "Members")
    site.call("addUserToGroup", "alice", "Members")
    site.call("adjustUserAccountBalanceByGroup", "Members", 1.0, "", "")
    assert site.user("alice")["balance"] == 21
    assert site.call("getGroupMembers", "!!Internal Users!!", 0, 9) == ["bob"]
    assert site.call("getUserGroups", "alice") == ["!!All Users!!", "Members"]
    assert site.sql("SELECT count(*) FROM tbl_user_group") == [(1,)]
    assert list(site.call("getGroupQuota", "Members")) == ["QuotaAmount", "QuotaPeriod", "QuotaMaxAccumulation"]
    site.call("removeGroup", "Members")
    assert site.sql("SELECT count(*) FROM tbl_user_group") == [(0,)]
    assert site.call("listPrinters", 0, 9) == ["!!template printer!!", "srv\\Front"]
    assert site.call("getPrinterCostSimple", "srv", "front") == 0.5
    site.call("disablePrinter", "srv", "Front", -1)
    assert site.server.print_job({"username": "alice", "printer": "srv\\Front", "cost": 1})["allowed"] is False


# The world, the database, the files


def test_jobs_of_the_world_are_history(make: Any) -> None:
    jobs = [{"username": "bob", "cost": 9, "at": "2026-11-01T09:00:00Z"}, {"username": "bob", "cost": 1, "job_id": 50}]
    site = make({**WORLD, "jobs": jobs})
    assert site.user("bob")["balance"] == 5
    assert site.sql("SELECT balance FROM tbl_account WHERE account_name = 'bob'") == [(5,)]
    query = "SELECT usage_log_id, amount, balance FROM tbl_account_transaction ORDER BY 1"
    assert site.sql(query) == [(1, -9, 6), (50, -1, 5)]
    assert site.server.print_job({"username": "bob", "cost": 1})["job_id"] == 51


def test_an_empty_world_has_the_template_rows(make: Any) -> None:
    site = make({})
    assert site.sql("SELECT account_name FROM tbl_account") == [("!!template account!!",)]
    assert site.sql("SELECT printer_name FROM tbl_printer") == [("!!template printer!!",)]
    assert set(sa.inspect(site.engine).get_table_names()) == set(TABLES)


def test_statements_are_counted_and_transactions_are_not(shared: Client) -> None:
    shared.sql("SELECT 1")
    shared.core.calls.clear()
    for _ in range(8):  # psycopg prepares a statement on its sixth use
        shared.sql("SELECT count(*) FROM tbl_user WHERE user_id > :least", least=0)
    assert shared.core.calls[shared.server.name] == {"database": 8}


def test_database_faults_drop_and_delay(shared: Client) -> None:
    shared.sql("SELECT 1")
    shared.core.faults.planned.append(Fault(shared.server.name, "database", "drop_before"))
    with pytest.raises(sa.exc.OperationalError):
        shared.sql("SELECT 1")
    shared.core.faults.planned.append(Fault(shared.server.name, "database", "delay", seconds=0.2))
    start = time.monotonic()
    assert shared.sql("SELECT 1") == [(1,)]
    assert time.monotonic() - start >= 0.2


def test_readers_cannot_write_and_need_the_password(shared: Client) -> None:
    with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
        shared.sql("DELETE FROM tbl_user")
    stranger = sa.create_engine(sa.make_url(shared.server.jobs_uri).set(password="guess"))
    with pytest.raises(sa.exc.OperationalError, match="password"), stranger.connect():
        pass


def test_jobs_are_written_to_the_print_files(make: Any, tmp_path: Path) -> None:
    config = {**WORLD["config"], "print_log_folder": str(tmp_path / "log"), "csv_folder": str(tmp_path / "csv")}
    site = make({**WORLD, "config": config})
    job = {"username": "alice", "printer": "Front", "pages": 2, "cost": 1.5, "document": 'a "b", c', "client": "PC1"}
    site.server.print_job({**job, "at": "2026-07-01T23:30:00Z"})
    site.server.print_job({"username": "bob", "cost": 99, "at": "2026-07-01T23:40:00Z"})
    line = (tmp_path / "log" / "printlog_2026_07_02.log").read_text()
    assert line.split("\t")[:12] == [
        "2026-07-02", "12:30:00 AM", "srv", "Front", "alice", "alice", "PC1", 'a "b", c', "2", "0", "1", "1.50"
    ]  # fmt: skip
    title, *rows = csv.reader((tmp_path / "csv" / "papercut-print-log-2026-07-02.csv").read_text().splitlines())
    assert title == ["PaperCut Print Logger - http://www.papercut.com/"]
    assert dict(zip(rows[0], rows[1], strict=False))["Document Name"] == 'a "b", c'
    assert (rows[0][-1], rows[1][-2], len(rows), len(rows[1]) - len(rows[0])) == ("Cost", "1.50", 2, 1)


def test_ten_thousand_users_are_created_in_well_under_a_minute(site: Client) -> None:
    start = time.monotonic()
    for number in range(500):
        assert site.call("addNewInternalUser", f"user{number}", "00012345", "N", "", "", "") is True
    assert time.monotonic() - start < 3, "a create should take about a millisecond, 6 at the very most"
    assert site.sql("SELECT count(*) FROM tbl_user") == [(502,)]


KILLED = """
import asyncio, sys
from pathlib import Path
from pipeline.sandbox.database import Cluster
async def main():
    cluster = Cluster(Path(sys.argv[1]))
    await cluster.start()
    print("ready", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has one way to end a process")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_database_does_not_outlive_a_killed_sandbox(folder: Path, how: signal.Signals) -> None:
    files = folder / how.name
    files.mkdir()
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", KILLED, str(files)], cwd=root, stdout=subprocess.PIPE) as sandbox:
        assert sandbox.stdout is not None
        assert sandbox.stdout.readline() == b"ready\n"
        assert (files / "postgres" / "postmaster.pid").exists()
        sandbox.send_signal(how)
    deadline = time.monotonic() + 10
    while (files / "postgres").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not (files / "postgres").exists(), "guard.py must stop the server and remove its folder"
