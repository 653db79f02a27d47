"""What people do by hand in PaperCut and with its files: names, notes, refunds, exports, and a database restored."""

from __future__ import annotations

import csv
import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pipeline.sandbox.papercut.refunds import FORMS
from tests.nexudus_sandbox import Api, running_api

MINIMUM = "internal-users.self-registration.min-password-length"
SITE: dict[str, Any] = {
    "business_id": 7,
    "config": {"print_log_folder": "log", "csv_folder": "csv", "server_uuid": "0b5c"},
    "first_ids": {"job": 500},
    "users": [
        {"username": "alice", "balance": 100, "notes": "ours", "department": "Blue"},
        {"username": "bob", "balance": 50, "internal": True, "password": "00012345", "pin": "12345"},
    ],
    "printers": [{"server": "srv", "name": "mono"}],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def api(folder: Path) -> Iterator[Api]:
    with running_api(folder, {"sites": {"london": SITE}}) as api:
        yield api


def act(api: Api, action: str, **more: object) -> dict[str, Any]:
    return api.control("POST", "papercut", {"site": "london", "action": action, **more})


def refused(api: Api, action: str, **more: object) -> str:
    body = {"site": "london", "action": action, **more}
    answer = api.plain.post(f"{api.control_url}/papercut", json=body)
    assert answer.status_code == 400
    return answer.json()["error"]


def printed(api: Api, **more: object) -> int:
    job = {"site": "london", "username": "alice", "printer": "srv\\mono", "cost": 60, "document": "plan.pdf"}
    return api.control("POST", "print", job | more)["job_id"]


def call(api: Api, method: str, *arguments: object) -> Any:
    site = api.ready["sites"]["london"]
    body = xmlrpc.client.dumps((site["token"], *arguments), f"api.{method}")
    return xmlrpc.client.loads(api.plain.post(site["papercut_url"], content=body).content)[0][0]


def sql(api: Api, text: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(api.ready["sites"]["london"]["jobs_uri"].replace("+psycopg", "")) as con:
        return con.execute(text.encode()).fetchall()


def user(api: Api, name: str) -> dict[str, Any]:
    users = api.control("GET", "state")["sites"]["london"]["users"]
    return next(each for each in users if each["username"] == name)


# Users --------------------------------------------------------------------------------------------------------------


def test_a_user_is_renamed_and_its_notes_are_overwritten(api: Api) -> None:
    act(api, "rename_user", username="alice", new_name="Alice.Smith@example.com")
    act(api, "set_user", username="alice.smith@example.com", set={"notes": "room 4\x0b", "balance": "7.5"})
    assert (user(api, "alice.smith@example.com")["notes"], user(api, "alice.smith@example.com")["balance"]) == (
        "room 4\x0b", 7.5,
    )  # fmt: skip
    assert sql(api, "SELECT user_name, notes FROM tbl_user WHERE user_name LIKE 'alice%'") == [
        ("alice.smith@example.com", "room 4\x0b")
    ]
    assert "does not exist" in refused(api, "rename_user", username="alice", new_name="x")
    assert "already exists" in refused(api, "rename_user", username="alice.smith@example.com", new_name="bob")


def test_a_user_is_added_deleted_and_redacted(api: Api) -> None:
    act(api, "add_user", username="guest-1", full_name="Guest", balance=3)
    assert user(api, "guest-1")["balance"] == 3
    act(api, "delete_user", username="guest-1")
    act(api, "delete_user", username="alice", redact=True)
    assert [each["username"] for each in api.control("GET", "state")["sites"]["london"]["users"]] == ["bob"]
    rows = sql(api, "SELECT notes FROM tbl_user WHERE deleted = 'Y' AND user_name LIKE 'redacted%'")
    assert rows == [("",)]


def test_staff_adjusts_a_balance_by_hand(api: Api) -> None:
    assert act(api, "adjust_balance", username="alice", amount=-12.5, comment="coffee") == {"balance": 87.5}
    rows = sql(api, "SELECT transacted_by, transaction_type, txn_comment FROM tbl_account_transaction")
    assert rows == [("admin", "ADJUST", "coffee")]


def test_a_longer_minimum_for_passwords_holds_at_once(api: Api) -> None:
    api.switch(password_min="config")
    act(api, "set_config", set={MINIMUM: 10})
    assert call(api, "getConfigValue", MINIMUM) == "10"
    with pytest.raises(xmlrpc.client.Fault, match="at least 10"):
        call(api, "setUserProperty", "bob", "password", "00012345")


def test_departments_and_offices_have_a_history(api: Api) -> None:
    api.advance(60)
    call(api, "setUserProperty", "alice", "department", "Red")
    call(api, "setUserProperty", "alice", "department", "Red")
    call(api, "setUserProperty", "alice", "office", "2nd floor")
    api.advance(60)
    call(api, "setUserProperty", "alice", "department", "")
    query = """SELECT field_type, field_value, end_date - start_date FROM tbl_user_field_history ORDER BY start_date,
        field_type"""
    rows = sql(api, query)
    assert [row[:2] for row in rows] == [("DEPARTMENT", "Blue"), ("DEPARTMENT", "Red"), ("OFFICE", "2nd floor")]
    assert [row[2] and round(row[2].total_seconds() / 60) for row in rows] == [1, 1, None]


def test_a_server_with_several_personal_accounts_has_no_plain_one(api: Api) -> None:
    act(api, "personal_accounts", types=["USER-001", "USER-002"])
    act(api, "add_user", username="new", balance=4)
    query = "SELECT DISTINCT account_type FROM tbl_account WHERE account_type LIKE 'USER%' ORDER BY 1"
    assert sql(api, query) == [("USER-001",), ("USER-002",)]
    assert sql(api, "SELECT count(*) FROM tbl_user_account") == [(6,)]
    call(api, "adjustUserAccountBalance", "alice", 1.0, "", "USER-002")
    call(api, "adjustUserAccountBalance", "alice", 2.0, "")
    assert call(api, "getUserAccountBalance", "alice") == 103.0
    assert call(api, "getUserAccountBalance", "alice", "user-001") == 102.0
    with pytest.raises(xmlrpc.client.Fault, match="Account 'USER-003'"):
        call(api, "getUserAccountBalance", "alice", "USER-003")
    assert "USER, USER-001" in refused(api, "personal_accounts", types=["SHARED"])


# Jobs ---------------------------------------------------------------------------------------------------------------


def test_old_jobs_are_anonymized_and_their_charges_stay(api: Api) -> None:
    old, new = printed(api, at="2026-01-05T09:00:00Z"), printed(api, at="2026-03-05T09:00:00Z", cost=1)
    assert act(api, "anonymize", before="2026-02-01T00:00:00Z") == {"jobs": 1}
    query = """SELECT printer_usage_log_id, user_name, document_name FROM tbl_printer_usage_log
        JOIN tbl_user ON user_id = used_by_user_id ORDER BY 1"""
    assert sql(api, query) == [(old, "anonymous", "Redacted by the system"), (new, "alice", "plan.pdf")]
    assert user(api, "alice")["balance"] == 39
    assert api.control("POST", "refund", {"site": "london", "job_id": old})["cost"] == 60
    assert user(api, "alice")["balance"] == 99, "a refund goes to whoever paid"


def test_with_the_option_on_a_job_is_anonymous_as_soon_as_it_is_done(api: Api) -> None:
    api.switch(anonymize_jobs="on")
    printed(api)
    query = """SELECT user_name, account_name FROM tbl_printer_usage_log JOIN tbl_user ON user_id = used_by_user_id
        JOIN tbl_account ON account_id = charged_to_account_id"""
    assert sql(api, query) == [("anonymous", "anonymous")]
    assert sql(api, "SELECT usage_log_id, amount FROM tbl_account_transaction") == [(None, -60)]
    assert user(api, "alice")["balance"] == 40


ROW = "SELECT usage_cost, original_usage_cost, refunded, refund_status FROM tbl_printer_usage_log"
LEDGER = (
    "SELECT transaction_type, usage_log_id FROM tbl_account_transaction ORDER BY account_transaction_id DESC LIMIT 1"
)


@pytest.mark.parametrize(
    ("form", "row", "ledger"),
    [
        ("lower_cost", (40, 60, "N", "PARTIALLY_REFUNDED"), ("REFUND", 500)),
        ("set_flag", (60, 60, "Y", "PARTIALLY_REFUNDED"), ("REFUND", 500)),
        ("both", (40, 60, "Y", "PARTIALLY_REFUNDED"), ("REFUND", 500)),
        ("status_only", (60, 60, "N", "PARTIALLY_REFUNDED"), ("REFUND", 500)),
        ("cost_only", (40, 60, "N", None), ("REFUND", 500)),
        ("no_original", (40, 40, "N", None), ("REFUND", 500)),
        ("transaction", (60, 60, "N", None), ("REFUND", 500)),
        ("adjustment", (60, 60, "N", None), ("ADJUST", None)),
    ],
)
def test_a_partial_refund_has_every_form(api: Api, form: str, row: tuple[Any, ...], ledger: tuple[Any, ...]) -> None:
    number = printed(api)
    assert (
        api.control("POST", "refund", {"site": "london", "job_id": number, "amount": 20, "form": form})["balance"] == 60
    )
    assert (sql(api, ROW), sql(api, LEDGER)) == ([row], [ledger])
    api.control("POST", "print", {"site": "london", "job_id": number, "cancelled": True})
    left = {"set_flag": 100, "both": 100}.get(form, 60)
    assert user(api, "alice")["balance"] == left, "a later change of the job takes nothing back that was refunded"


def test_every_form_is_tried_and_an_unknown_one_is_refused(api: Api) -> None:
    assert set(FORMS) == {
        "lower_cost", "set_flag", "both", "status_only", "cost_only", "no_original", "transaction", "adjustment",
    }  # fmt: skip
    number = printed(api)
    answer = api.plain.post(
        f"{api.control_url}/refund", json={"site": "london", "job_id": number, "form": "cash", "amount": 1}
    )
    assert (answer.status_code, "known: lower_cost" in answer.json()["error"]) == (400, True)
    assert user(api, "alice")["balance"] == 40


# The database -------------------------------------------------------------------------------------------------------


def test_a_restored_database_gives_its_ids_to_other_people(api: Api) -> None:
    first = printed(api, cost=1)
    act(api, "snapshot", name="monday")
    lost = printed(api, cost=5)
    call(api, "addNewInternalUser", "carol", "secret", "", "", "", "")
    [(carol,)] = sql(api, "SELECT user_id FROM tbl_user WHERE user_name = 'carol'")
    act(api, "restore", name="monday")
    assert (user(api, "alice")["balance"], call(api, "isUserExists", "carol")) == (99, False)
    assert sql(api, "SELECT count(*) FROM tbl_account_transaction") == [(1,)]
    call(api, "addNewInternalUser", "dora", "secret", "", "", "", "")
    assert sql(api, "SELECT user_id FROM tbl_user WHERE user_name = 'dora'") == [(carol,)]
    assert printed(api, username="bob", cost=7) == lost == first + 1
    query = "SELECT printer_usage_log_id, usage_cost FROM tbl_printer_usage_log ORDER BY 1"
    assert sql(api, query) == [(first, 1), (lost, 7)]
    act(api, "restore", name="monday")
    assert sql(api, query) == [(first, 1)], "a snapshot can be restored again"
    assert "unknown snapshot" in refused(api, "restore", name="tuesday")
    assert "already" in refused(api, "snapshot", name="monday")


def test_ids_begin_where_they_are_told_to(api: Api) -> None:
    assert printed(api, cost=1) == 500
    act(api, "next_ids", job=2**63 - 1, user=7000)
    assert printed(api, cost=1) == 2**63 - 1
    job = {"site": "london", "username": "alice", "cost": 1}
    assert api.plain.post(f"{api.control_url}/print", json=job).status_code == 400, "there is no id after the last"
    assert user(api, "alice")["balance"] == 98
    act(api, "add_user", username="late")
    assert sql(api, "SELECT user_id FROM tbl_user WHERE user_name = 'late'") == [(7000,)]


def test_the_identity_of_the_server_is_at_its_printers(api: Api) -> None:
    assert sql(api, "SELECT DISTINCT server_uuid FROM tbl_printer WHERE server_name <> ''") == [("0b5c",)]


@pytest.mark.parametrize("action", ["", "dance", None])
def test_an_unknown_action_is_refused_with_the_list_of_known_ones(api: Api, action: Any) -> None:
    assert "snapshot" in refused(api, action)


# The files ----------------------------------------------------------------------------------------------------------


def test_a_second_export_shows_the_same_jobs_under_other_names(api: Api, folder: Path) -> None:
    at = "2026-03-04T09:00:10Z"
    for document in ("one.pdf", "two.pdf"):
        printed(api, at=at, cost=1, document=document)
    made = api.control("POST", "export", {
        "site": "london", "printers": {"mono": "front-desk"}, "documents": "redacted", "time": "12h",
        "order": "reverse",
    })  # fmt: skip
    assert made == {"files": ["papercut-print-log-all-time.csv"]}

    def rows(name: str) -> list[dict[str, str]]:
        lines = (folder / "csv" / name).read_text("utf-8").splitlines()[1:]
        return list(csv.DictReader(lines, restkey="rest"))

    daily, again = rows("papercut-print-log-2026-03-04.csv"), rows("papercut-print-log-all-time.csv")
    assert [(row["Time"], row["Printer"], row["Document Name"]) for row in daily] == [
        ("2026-03-04 09:00:10", "mono", "one.pdf"), ("2026-03-04 09:00:10", "mono", "two.pdf"),
    ]  # fmt: skip
    assert {(row["Time"], row["Printer"], row["Document Name"]) for row in again} == {
        ("2026-03-04 09:00:10 AM", "front-desk", "redacted")
    }
    api.control("POST", "export", {"site": "london", "kind": "log", "time": "24h", "users": {"alice": "redacted-1"}})
    lines = (folder / "log" / "printlog_2026_03_04.log").read_text("utf-8").splitlines()
    assert [line.split("\t")[1:5] for line in lines] == [["09:00:10", "srv", "mono", "redacted-1"]] * 2
    wrong = api.plain.post(f"{api.control_url}/export", json={"site": "london", "kind": "xlsx"})
    assert (wrong.status_code, "xlsx" in wrong.json()["error"]) == (400, True)


def test_the_layout_of_public_scripts_has_its_header_on_the_third_line(api: Api, folder: Path) -> None:
    api.switch(csv_layout="job_log")
    printed(api, at="2026-03-04T09:00:10Z", pages=4, color_pages=1, duplex=True)
    api.control("POST", "export", {"site": "london", "time": "day_first"})
    lines = (folder / "csv" / "papercut-print-log-all-time.csv").read_text("utf-8").splitlines()
    assert lines[2] == (
        "Date,Username,Printer Name,Document,Total Printed Pages,Simplex Pages,Duplex Pages,Grayscale,Total Color Pages"
    )
    assert lines[3] == "04/03/2026 09:00:10,alice,mono,plan.pdf,4,0,4,N,1"
