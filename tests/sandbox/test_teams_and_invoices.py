"""Teams, invoices and odd records in the sandbox's Nexudus, as the corrections of 2026-11-26 describe them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipeline.sandbox.nexudus.records import dump, load
from tests.nexudus_sandbox import ANNA, BEN, CREDIT, LONDON, OLD, RATE, WORLD, Api, running_api

TEAM = 1_416_000_051
LATER, BEFORE = "2027-12-01T00:00:00Z", "2026-11-01T00:00:00Z"


def world(**more: object) -> dict[str, Any]:
    return {**WORLD, "nexudus": {**WORLD["nexudus"], **more}}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    team = {"Id": TEAM, "BusinessId": LONDON, "Name": "Blue", "TeamMembers": [ANNA, BEN], "PayingMemberId": ANNA}
    with running_api(tmp_path, world(teams=[team])) as api:
        yield api


def command(api: Api, path: str, key: str, number: int, **parameters: object) -> httpx.Response:
    given = [{"Name": name, "Type": "", "Value": value} for name, value in parameters.items()]
    return api.post(f"{path}/runcommand", {"Key": key, "Ids": [number], "Parameters": given})


# Teams --------------------------------------------------------------------------------------------------------------


def test_a_team_and_its_members_say_the_same(api: Api) -> None:
    row = api.rows("spaces/teams")[0]
    assert (row["TeamMembers"], row["CoworkerIds"], row["PayingMemberFullName"]) == (None, f"{ANNA},{BEN}", "Anna Ash")
    assert api.get(f"spaces/teams/{TEAM}").json()["TeamMembers"] == [ANNA, BEN]
    anna = next(row for row in api.rows("spaces/coworkers") if row["Id"] == ANNA)
    assert (anna["TeamIds"], anna["TeamNames"], anna["Teams"]) == (str(TEAM), "Blue", None)
    assert api.get(f"spaces/coworkers/{ANNA}").json()["Teams"] == [TEAM]
    assert [row["Id"] for row in api.rows("spaces/teams", Team_PayingMember=ANNA)] == [TEAM]
    assert [row["Id"] for row in api.rows("spaces/coworkers", Coworker_Teams=TEAM)] == [ANNA, BEN]


def test_joining_and_leaving_shows_on_both_sides(api: Api) -> None:
    seen = api.get(f"spaces/coworkers/{BEN}").json()["UpdatedOn"]
    api.advance(60)
    api.admin("teams", id=TEAM, set={"TeamMembers": [ANNA, OLD]})
    ben = api.get(f"spaces/coworkers/{BEN}").json()
    assert (ben["Teams"], ben["TeamIds"], ben["TeamNames"]) == ([5, 6], None, None)
    assert ben["UpdatedOn"] == seen, "a team is not its members"
    assert api.get(f"spaces/coworkers/{OLD}").json()["TeamNames"] == "Blue"
    api.switch(team_touches_coworker="yes")
    second = api.admin("teams", set={"BusinessId": LONDON, "Name": "Red", "TeamMembers": [BEN]})["Id"]
    assert api.get(f"spaces/coworkers/{BEN}").json()["UpdatedOn"] > seen
    api.admin("coworkers", id=ANNA, set={"Teams": [TEAM, second]})
    assert api.get(f"spaces/teams/{second}").json()["TeamMembers"] == [BEN, ANNA]
    assert api.get(f"spaces/coworkers/{ANNA}").json()["TeamNames"] == "Blue,Red"
    team = api.get(f"spaces/teams/{TEAM}").json()
    assert (
        api.client.put("spaces/teams", json=team | {"TeamMembers": None, "RemovedTeamMembers": [OLD]}).status_code
        == 200
    )
    assert api.get(f"spaces/teams/{TEAM}").json()["TeamMembers"] == [ANNA]


@pytest.mark.parametrize("sharing", [None, "ShareExtraServices", "TransferCreditsToPayingMember"])
def test_own_credits_go_first_and_then_those_of_the_payer(api: Api, sharing: str | None) -> None:
    base = {"CoworkerId": BEN, "BusinessId": LONDON, "ExtraServiceId": RATE}
    own = api.admin("coworkerextraservices", set={**base, "TotalUses": 30})["Id"]
    api.admin("coworkerextraservices", set={**base, "TotalUses": 99, "ExpireDate": BEFORE})
    if sharing:
        api.admin("teams", id=TEAM, set={sharing: True})
    assert api.admin("coworkerextraservices", coworker_id=BEN, use=50) == {"used": 50 if sharing else 30}
    left = [api.get(f"billing/coworkerextraservices/{number}").json()["RemainingUses"] for number in (own, CREDIT)]
    assert left == [0, 480 if sharing else 500]


def test_the_payer_of_a_team_gets_the_sales_of_its_members(api: Api) -> None:
    shared, alone = api.sale(CoworkerId=BEN), api.sale(CoworkerId=BEN, InvoiceThisCoworker=True)
    own = api.sale(CoworkerId=ANNA)
    raised = api.post(f"billing/coworkerinvoices/{LONDON}/create/{ANNA}", {}).json()["Value"]
    assert [(row["CoworkerId"], row["TotalAmount"]) for row in raised] == [(ANNA, 0.18)]
    bills = {each["Id"]: api.get(f"billing/coworkerproducts/{each['Id']}").json() for each in (shared, alone, own)}
    assert [bills[each["Id"]]["Invoiced"] for each in (shared, alone, own)] == [True, False, True]
    assert api.post(f"billing/coworkerinvoices/{LONDON}/create/{ANNA}", {}).json()["Value"] == []
    assert api.post(f"billing/coworkerinvoices/{LONDON}/create/5", {}).status_code == 404


def test_expired_credits_stay_or_vanish(api: Api) -> None:
    base = {"CoworkerId": BEN, "BusinessId": LONDON, "ExtraServiceId": RATE, "TotalUses": 1}
    gone = api.admin("coworkerextraservices", set={**base, "ExpireDate": BEFORE})["Id"]
    kept = api.admin("coworkerextraservices", set={**base, "ExpireDate": LATER})["Id"]

    def seen() -> set[int]:
        listed = {row["Id"] for row in api.rows("billing/coworkerextraservices", CoworkerExtraService_Coworker=BEN)}
        assert {row["Id"] for row in api.get("billing/coworkerextraservices", id=f"[{gone},{kept}]").json()} == listed
        assert (api.get(f"billing/coworkerextraservices/{gone}").status_code == 200) == (gone in listed)
        return listed

    assert seen() == {gone, kept}
    api.switch(expired_credits="vanish")
    assert seen() == {kept}
    state = api.control("GET", "state")["nexudus"]["coworkerextraservices"]
    assert {gone, kept} <= {row["Id"] for row in state}


# Invoices -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def billed(api: Api) -> tuple[dict[str, Any], int]:
    """A sale of 0.09 with another of 0.30 on one invoice, and the invoice's number."""
    number = api.customer()
    sale = api.sale(CoworkerId=number, Quantity=9)
    api.sale(CoworkerId=number, Quantity=30)
    assert command(api, "spaces/coworkers", "COWORKER_BILL_RUN", number).status_code == 200
    return sale, api.get(f"billing/coworkerproducts/{sale['Id']}").json()["CoworkerInvoiceId"]


def invoice_of(api: Api, number: int) -> dict[str, Any]:
    return api.get(f"billing/coworkerinvoices/{number}").json()


def test_sales_are_found_by_their_invoice_and_lines_need_it(api: Api, billed: tuple[dict[str, Any], int]) -> None:
    rows = api.rows("billing/coworkerproducts", CoworkerProduct_CoworkerInvoiceId=billed[1])
    assert [row["Quantity"] for row in rows] == [9, 30]
    refused = api.get("billing/coworkerinvoicelines")
    assert (refused.status_code, refused.json()["Message"]) == (
        400, "Missing required filter: CoworkerInvoiceLine_CoworkerInvoice",
    )  # fmt: skip
    api.switch(line_list="all")
    assert len(api.rows("billing/coworkerinvoicelines")) == 2


def test_a_paid_invoice_can_be_refunded_and_nothing_else(api: Api, billed: tuple[dict[str, Any], int]) -> None:
    sale, number = billed
    path = "billing/coworkerinvoices"
    assert command(api, path, "COWORKER_INVOICE_REFUND", number).status_code == 400, "it is not paid yet"
    assert command(api, path, "PAY_COWORKER_INVOICE_MANUAL", number).json()["WasSuccessful"] is True
    paid = invoice_of(api, number)
    assert (paid["Paid"], paid["PaidAmount"], paid["DueAmount"]) == (True, 0.39, 0)
    assert api.get(f"billing/coworkerproducts/{sale['Id']}").json()["CoworkerInvoicePaid"] is True
    for key in ("VOID_INVOICE", "COWORKER_INVOICE_CANCEL", "COWORKER_INVOICE_DELETE", "PAY_COWORKER_INVOICE_MANUAL"):
        answer = command(api, path, key, number)
        assert (answer.status_code, "cannot be run" in answer.json()["Message"]) == (400, True), key
    assert command(api, path, "COWORKER_INVOICE_REFUND", number).status_code == 200
    refunded = invoice_of(api, number)
    assert (refunded["Paid"], refunded["Refunded"], refunded["RefundedAmount"]) == (True, True, None)


def test_staff_credits_an_invoice_in_parts(api: Api, billed: tuple[dict[str, Any], int]) -> None:
    sale, number = billed
    updated = invoice_of(api, number)["UpdatedOn"]
    path = "billing/coworkerinvoices"
    assert command(api, path, "COWORKER_INVOICE_CANCEL", number, Preview="true").json()["Value"] is None
    api.advance(60)
    [note] = command(api, path, "COWORKER_INVOICE_CANCEL", number, **{f"Amount{number}": "0.10"}).json()["Value"]
    original = invoice_of(api, number)
    assert (note["CreditNote"], note["TotalAmount"], note["OriginalInvoiceGuid"]) == (True, -0.1, original["UniqueId"])
    assert (original["CreditedAmount"], original["DueAmount"], original["UpdatedOn"]) == (0.1, 0.29, updated)
    lines = api.rows("billing/coworkerinvoicelines", CoworkerInvoiceLine_CoworkerInvoice=note["Id"])
    assert [line["SubTotal"] for line in lines] == [-0.09, -0.01]
    first = api.rows("billing/coworkerinvoicelines", CoworkerInvoiceLine_CoworkerInvoice=number)[0]
    assert lines[0]["CancelledCoworkerInvoiceLineUniqueId"] == first["UniqueId"]
    assert api.get(f"billing/coworkerproducts/{sale['Id']}").json()["Invoiced"] is True, "the sale stays as it was"
    assert command(api, path, "COWORKER_INVOICE_CANCEL", number, **{f"Amount{number}": "0.30"}).status_code == 500
    assert command(api, path, "COWORKER_INVOICE_CANCEL", number).json()["Value"][0]["TotalAmount"] == -0.29
    assert command(api, path, "VOID_INVOICE", note["Id"]).status_code == 400


@pytest.mark.parametrize("sales", ["keep", "release"])
@pytest.mark.parametrize(("key", "status"), [("VOID_INVOICE", 200), ("COWORKER_INVOICE_DELETE", 404)])
def test_a_dropped_invoice_keeps_or_releases_its_sales(
    api: Api, billed: tuple[dict[str, Any], int], key: str, status: int, sales: str
) -> None:
    sale, number = billed
    api.switch(dropped_invoice_sales=sales)
    assert command(api, "billing/coworkerinvoices", key, number).status_code == 200
    assert api.get(f"billing/coworkerinvoices/{number}").status_code == status
    after = api.get(f"billing/coworkerproducts/{sale['Id']}").json()
    assert (after["Invoiced"], after["CoworkerInvoiceId"]) == ((False, None) if sales == "release" else (True, number))


def test_a_bill_run_may_do_nothing(api: Api) -> None:
    api.switch(bill_run="nothing")
    sale = api.sale()
    assert command(api, "spaces/coworkers", "COWORKER_BILL_RUN", ANNA).json()["WasSuccessful"] is True
    assert api.get(f"billing/coworkerproducts/{sale['Id']}").json()["Invoiced"] is False


# Odd records --------------------------------------------------------------------------------------------------------

ODD: dict[str, Any] = {
    "AccessPincode": 20100, "AccessCardId": 4711, "TeamNames": ["A"], "FullName": "Ann\u000b", "Active": None,
    "PaperCutFreePrinting": None, "PaperCutPayAsYouPrint": "yes", "UpdatedOn": None, "CreatedOn": None,
    "RegistrationDate": "0001-01-01T00:00:00Z", "StartDate": "soon", "RenewalDate": 20261101, "CoworkerType": 9,
    "TotalActiveContracts": 10**30, "BillingDay": "3", "InvoicingBusinessId": None, "Businesses": None,
    "TariffId": "gold", "Notes": "\ue0001.5", "CompanyName": "\ud83d", "Teams": "none",
}  # fmt: skip


@pytest.mark.parametrize("way", ["world", "screens", "another world"])
def test_odd_values_are_served_as_they_are_given(tmp_path: Path, way: str) -> None:
    person = {"Id": 77, "Email": "odd@example.com", **ODD}
    with running_api(tmp_path, world(coworkers=[person]) if way == "world" else WORLD) as api:
        body = json.dumps({"entity": "coworkers", "set": person})
        if way == "another world":
            body = json.dumps({"nexudus": {"coworkers": [person]}})
            assert api.plain.put(f"{api.control_url}/world", content=body).status_code == 200
        elif way == "screens":
            assert api.plain.post(f"{api.control_url}/nexudus", content=body).status_code == 200
        for orders in ({}, {"orderBy": "UpdatedOn"}, {"orderBy": "RenewalDate"}, {"from_Coworker_StartDate": LATER}):
            assert api.get("spaces/coworkers", **orders).status_code == 200
        found = json.loads(api.get("spaces/coworkers/77").content)
        assert {name: found[name] for name in ODD} == ODD


def test_an_explicit_null_stays_null_and_a_field_left_out_gets_its_default(tmp_path: Path) -> None:
    nulls = {"RemainingUses": None, "ExtraServiceIsPrintingCredit": None, "TotalUses": None, "UniqueId": None}
    given = world(
        coworkers=[{"Id": ANNA, "AccessPincode": None, "Salutation": None}, {"Id": BEN, "FullName": "Ben Bo"}],
        coworkerextraservices=[{"Id": 1, "CoworkerId": ANNA, "BusinessId": LONDON, "ExtraServiceId": RATE, **nulls}],
    )
    with running_api(tmp_path, given) as api:
        anna, ben = (api.get(f"spaces/coworkers/{number}").json() for number in (ANNA, BEN))
        assert (anna["AccessPincode"], anna["Salutation"]) == (None, None)
        assert (len(ben["AccessPincode"]), ben["Salutation"], ben["Active"]) == (5, "Ben", True)
        credit = api.get("billing/coworkerextraservices/1").json()
        assert {name: credit[name] for name in nulls} == nulls
        assert api.post("billing/coworkerproducts", {"CoworkerId": ANNA}).status_code == 400


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("0.01000"), "0.01000"), (Decimal(3), "3.0"), (Decimal("1e400"), "1E+400"),
        (Decimal("-1e-90"), "-1E-90"), ("\ue000", '"\ue000"'), ("\ud83d", '"\\ud83d"'),
        ("😀\x0b", '"😀\\u000b"'), (10**30, "1" + "0" * 30),
    ],
)  # fmt: skip
def test_json_holds_whatever_is_given(value: Any, text: str) -> None:
    assert dump(value).decode() == text
    assert load(dump(value)) == value
