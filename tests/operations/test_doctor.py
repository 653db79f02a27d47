"""The doctor: every judgement as a table, then the whole of it against a real sandbox with a bad set-up."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.operations import doctor_findings as findings
from pipeline.operations.doctor import examine
from pipeline.operations.doctor_findings import Finding
from pipeline.services.papercut import findings as papercut
from pipeline.services.printing import JOB_COLUMNS
from tests.harness import running
from tests.worlds import LEEDS, LONDON, PIN_LENGTH, PRINTING_CREDIT, credit, customer, world

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)


def said(found: Iterable[Finding]) -> list[str]:
    return [f"{each.status} {each.check}: {each.seen}" for each in found]


# --- judgements ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", "warn C7: auth.webservices.allowed-addresses reads as empty"),
        ("a,b", "pass C7: auth.webservices.allowed-addresses has 2 addresses without spaces, and lets this machine in"),
        ("127.0.0.1, 10.0.0.5", "fail C7: auth.webservices.allowed-addresses has a space in its 2 addresses"),
        (" 127.0.0.1", "fail C7: auth.webservices.allowed-addresses has a space in its 1 address"),
    ],
)  # fmt: skip
def test_allowed_addresses(value: str, expected: str) -> None:
    assert said([papercut.addresses(value)]) == [expected]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", "warn C8: internal-users.self-registration.min-password-length reads as empty"),
        ("7", "fail C8: the minimum password length is '7', not 8 or more"),
        ("no", "fail C8: the minimum password length is 'no', not 8 or more"),
        ("8", "pass C8: the minimum password length is 8"),
    ],
)
def test_minimum_password_length(value: str, expected: str) -> None:
    assert said([papercut.password_length(value)]) == [expected]


@pytest.mark.parametrize(
    ("prices", "unread", "expected"),
    [
        ({"a": "5", "b": "10.00"}, [], ["pass C10: the simple page price is a whole number at 2 printers"]),
        ({"a": "5", "b": "2.50"}, [], ["fail C10: the page price is no whole number at 1 printer (b: 2.5)"]),
        ({}, [], ["warn C10: no simple page price at 0 printers"]),
        (
            {"a": "5"}, ["device\\x"],
            ["warn C10: no simple page price at 1 printer (device\\x)",
             "pass C10: the simple page price is a whole number at 1 printer"],
        ),
    ],
)  # fmt: skip
def test_prices(prices: dict[str, str], unread: list[str], expected: list[str]) -> None:
    assert said(papercut.prices({name: Decimal(price) for name, price in prices.items()}, unread)) == expected


@pytest.mark.parametrize(
    ("seats", "users", "wanted", "status"),
    [(0, 5, 5, "warn"), (10, 5, 9, "pass"), (10, 10, 5, "warn"), (10, 5, 10, "warn"), (10, 5, 11, "fail")],
)
def test_licence(seats: int, users: int, wanted: int, status: str) -> None:
    assert papercut.licence(seats, users, wanted).status == status


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, "warn clock: Nexudus sent no time"),
        (-12.0, "pass clock: the clock of this machine is 12 s ahead of Nexudus"),
        (301.0, "warn clock: the clock of this machine is 301 s behind Nexudus"),
        (3601.0, "fail clock: the clock of this machine is 3601 s behind Nexudus"),
    ],
)
def test_clock(seconds: float | None, expected: str) -> None:
    assert said([findings.skew(seconds)]) == [expected]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "pass C12: product 5 (Print) is priced 0.01"),
        ({"Price": Decimal("0.09")}, "fail C12: product 5 (Print) is priced 0.09, not 0.01"),
        ({"Price": None}, "fail C12: product 5 (Print) is priced None, not 0.01"),
        ({"Archived": True}, "fail C12: product 5 (Print) is archived"),
        ({"BusinessId": 2}, "warn C12: product 5 (Print) belongs to location 2, not to 1"),
    ],
)
def test_product(change: dict[str, Any], expected: str) -> None:
    record = {"Id": 5, "Name": "Print", "Price": Decimal("0.01000"), "Archived": False, "BusinessId": 1, **change}
    assert said([findings.product(record, 1)]) == [expected]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "pass C13: credit 3 (Print) is a printing credit with price 1 for every use"),
        ({"IsPrintingCredit": False}, "fail C13: credit 3 (Print) is no printing credit"),
        (
            {"ChargePeriod": 1, "Price": Decimal(2)},
            "fail C13: credit 3 (Print) is charged by period 1, not for every use (5) and is priced 2, not 1",
        ),
    ],
)
def test_credit(change: dict[str, Any], expected: str) -> None:
    record = {"Id": 3, "Name": "Print", "IsPrintingCredit": True, "ChargePeriod": 5, "Price": Decimal("1.0"), **change}
    assert said([findings.credit(record)]) == [expected]


@pytest.mark.parametrize(
    ("tied", "expected"),
    [
        ([3], ["warn C14: not counted: 1 other printing credit (4 (Gift))"]),
        ([3, 4], ["warn C14: credit_ids names 2 printing credits"]),
    ],
)
def test_only_one_printing_credit(tied: list[int], expected: list[str]) -> None:
    listed = [
        {"Id": 3, "Name": "Print", "IsPrintingCredit": True},
        {"Id": 4, "Name": "Gift", "IsPrintingCredit": True},
        {"Id": 9, "Name": "Room", "IsPrintingCredit": False},
    ]
    assert said(findings.only_credit(listed, tied)) == expected
    assert said(findings.only_credit([listed[0], listed[2]], [3])) == ["pass C14: printing credit 3 is the only one"]


def test_models_without_inventory_say_so() -> None:
    assert said(findings.model("free_unlimited")) == ["pass C16: printing is free: no inventory item is needed"]
    assert [each.check for each in findings.model("credits_and_pay_per_print")] == ["C15"]
    assert said(findings.model("pay_per_print")) == []


def test_screens_that_no_interface_tells_are_never_ok() -> None:
    found = list(papercut.screens(["srv\\a", "srv\\b"], 0))
    assert [each.check for each in found] == ["C1", "C2", "C3", "C4", "C5", "C9"]
    assert {each.status for each in found} == {"warn"}
    assert all(each.remedy.startswith("not proven, look here: ") for each in found)
    assert "2 printers (srv\\a, srv\\b)" in found[4].seen
    proven = list(papercut.screens([], 3))[2]
    assert said([proven]) == ["pass C3: internal users are enabled: 3 of them are ours"]


def jobs(*rows: dict[str, Any]) -> pl.DataFrame:
    least = {"job_id": "1", "printed_at": NOW - timedelta(hours=1), "printer": "p1", "cost": Decimal(5)}
    return pl.DataFrame([{**dict.fromkeys(JOB_COLUMNS), **least, **row} for row in rows], schema=JOB_COLUMNS)


@pytest.mark.parametrize(
    ("rows", "problems", "expected"),
    [
        ([], [], ["warn jobs: the database is readable and holds no job of the last 7 days"]),
        ([{}], [], ["pass jobs: the database holds 1 job of the last 7 days"]),
        (
            [{}], ["row 7: no date"],
            ["fail jobs: 1 row (row 7: no date) cannot be read",
             "pass jobs: the database holds 1 job of the last 7 days"],
        ),
        (
            [{"printed_at": NOW + timedelta(hours=1)}], [],
            ["pass jobs: the database holds 1 job of the last 7 days",
             "fail jobs: the newest job is from 2026-11-02 10:00 UTC, which is in the future"],
        ),
        (
            [{"cost": Decimal("2.5")}, {"cost": None}], [],
            ["pass jobs: the database holds 2 jobs of the last 7 days",
             "fail C10: the cost is no whole number for 1 job at 1 printer (p1)"],
        ),
    ],
)  # fmt: skip
def test_jobs(rows: list[dict[str, Any]], problems: list[str], expected: list[str]) -> None:
    assert said(findings.jobs(jobs(*rows), problems, "database", 7, NOW)) == expected


def test_files_that_others_may_use() -> None:
    assert list(findings.private(Path("x"), 0o600)) == []
    assert said(findings.private(Path("x"), 0o644)) == ["fail private: others may use x (mode 644)"]


def test_user_names_with_an_at_sign_are_a_warning() -> None:
    assert (papercut.user_names("email").status, papercut.user_names("user_domain").status) == ("warn", "pass")


# --- against real servers --------------------------------------------------------------------------------------------


def test_a_good_set_up_fails_nothing_and_changes_nothing(folder: Path) -> None:
    with running(folder, world([customer(101, PaperCutPayAsYouPrint=True)])) as harness:
        harness.forget_calls()
        found = examine(harness.sites["london"])
        assert [each for each in found if each.status == "fail"] == []
        checks = {each.check for each in found}
        assert checks >= {f"C{number}" for number in range(1, 18) if number != 16}, "a check is missing"
        assert {each.site for each in found} == {"london"}
        assert harness.writes() == {}
        assert "pass C17: PINs and e-mails are usable; 1 of 1 e-mails may print" in said(found)


def test_a_bad_set_up_is_told_all_at_once(folder: Path) -> None:
    people = [
        customer(101, PaperCutPayAsYouPrint=True, AccessPincode=""),
        customer(102, PaperCutPayAsYouPrint=True, Email="a+b@example.com"),
        *(customer(number, PaperCutPayAsYouPrint=True, AccessPincode="12345") for number in (103, 104)),
        *(customer(number, PaperCutPayAsYouPrint=True) for number in (105, 106)),
    ]
    given = world(people, [credit(401, 105, 50)])
    given["sites"]["london"]["config"] |= {PIN_LENGTH: "6", "auth.webservices.allowed-addresses": "127.0.0.1, 10.0.0.1"}
    given["sites"]["london"]["printers"].append({"server": "srv", "name": "p2", "cost_simple": 2.5})
    given["nexudus"]["products"][0] |= {"Price": 0.09, "BusinessId": LEEDS}
    given["nexudus"]["extraservices"][0] |= {"Price": 2}
    given["nexudus"]["extraservices"].append(
        {"Id": 32, "Name": "Gift", "BusinessId": LONDON, "IsPrintingCredit": True, "ChargePeriod": 5, "Price": 1}
    )
    with running(folder, given, licence_users=1) as harness:
        harness.print_job("staff", "2.5")
        found = examine(harness.sites["london"])
        assert [text for text in said(found) if text.startswith("fail")] == [
            "fail C7: auth.webservices.allowed-addresses has a space in its 2 addresses",
            "fail C8: the minimum password length is '6', not 8 or more",
            "fail C10: the page price is no whole number at 1 printer (srv\\p2: 2.5)",
            "fail C11: PaperCut has 1 user; 3 customers should print; the licence has 1 seat",
            "fail C12: product 51 (Printing) is priced 0.09000, not 0.01",
            f"fail C13: credit {PRINTING_CREDIT} (Printing) is priced 2.00000, not 1",
            "fail C10: the cost is no whole number for 1 job at 1 printer (p1)",
        ]
        warnings = said(each for each in found if each.check in {"C14", "C17"})
        assert warnings == [
            "warn C14: not counted: 1 other printing credit (32 (Gift))",
            "warn C17: a + in the e-mail, so cannot print: 1 customer (102)",
            "warn C17: no PIN, so cannot print: 1 customer (101)",
            "warn C17: the PIN of an older customer, so cannot print: 1 customer (104)",
        ]


def test_a_server_that_is_away_is_one_finding_and_the_rest_is_asked(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(folder, world([customer(101)])) as harness:
        harness.sites.close()
        monkeypatch.setenv("TOKEN_LONDON", "wrong")
        found = examine(harness.sites["london"])
        assert [each.check for each in found if each.status == "fail"] == ["C6"]
        assert {"nexudus", "C12", "jobs", "warehouse"} <= {each.check for each in found}
        assert "wrong" not in "".join(each.seen + each.remedy for each in found)
