"""The Nexudus service of the sandbox, against the facts and samples it was built from, over real sockets."""

import re
from collections.abc import Iterator

import pytest

from tests.nexudus_sandbox import ANNA, BEN, CREDIT, LONDON, NEW, OLD, PRODUCT, RATE, SALE, Api, running_api, sample


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with running_api(tmp_path_factory.mktemp("sandbox")) as api:
        yield api


@pytest.fixture
def api(running: Api) -> Api:
    running.reset()
    return running


# Sign-in (nexudus-api.md 1.2 to 1.4) --------------------------------------------------------------------------------


def test_a_token_wants_a_form(api: Api) -> None:
    email, password = api.sign_in
    form = {"grant_type": "password", "username": email, "password": password}
    assert set(api.plain.post("token", data=form).json()) == set(sample("09")["ok_200"])
    refused = api.plain.post("token", json=form)
    assert (refused.status_code, refused.json()) == (400, sample("09")["json_body_sent"])
    wrong = api.plain.post("token", data=form | {"password": "wrong"})
    assert (wrong.status_code, wrong.json()) == (400, sample("09")["bad_400"])


def test_a_token_expires_by_the_clock_and_is_refreshed_once(api: Api) -> None:
    email, password = api.sign_in
    tokens = api.plain.post("token", data={"grant_type": "password", "username": email, "password": password}).json()
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert api.plain.get("spaces/coworkers", headers=bearer).status_code == 200
    api.advance(tokens["expires_in"] + 1)
    assert api.plain.get("spaces/coworkers", headers=bearer).status_code == 401
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    assert "access_token" in api.plain.post("token", data=form).json()
    again = api.plain.post("token", data=form)
    assert (again.status_code, again.json()) == (400, sample("09")["refresh_bad_400"])


def test_nobody_enters_without_signing_in(api: Api) -> None:
    assert api.plain.get("spaces/coworkers").status_code == 401
    assert api.plain.get("spaces/coworkers", auth=(api.sign_in[0], "wrong")).status_code == 401
    api.switch(denied_roles=["CoworkerProduct-Create"])
    assert api.post("billing/coworkerproducts", SALE).status_code == 401
    assert api.get("billing/coworkerproducts").status_code == 200


# Lists (2) ----------------------------------------------------------------------------------------------------------


def test_the_envelope_is_the_documented_one(api: Api) -> None:
    answer = api.get("spaces/coworkers", size=1, orderBy="Id").json()
    assert set(answer) == set(sample("06"))
    assert (answer["TotalPages"], answer["HasNextPage"], answer["FirstItem"]) == (answer["TotalItems"], True, 1)


def test_pages_are_addressed_by_page_and_size_only(api: Api) -> None:
    for _ in range(30):
        api.customer()
    first = api.rows("spaces/coworkers", orderBy="Id")
    assert len(first) == 25
    assert api.rows("spaces/coworkers", orderBy="Id", PageNumber=2, PageSize=5) == first
    assert api.rows("spaces/coworkers", orderBy="Id", page=2, size=5) == first[5:10]
    api.switch(oversize_page="reset_25")
    assert len(api.rows("spaces/coworkers", size=1001)) == 25
    api.switch(oversize_page="reject_400")
    assert api.get("spaces/coworkers", size=1001).status_code == 400


def test_a_misspelt_filter_gives_everything(api: Api) -> None:
    total = api.get("spaces/coworkers").json()["TotalItems"]
    assert total > 1
    for wrong in ("Coworker_Mail", "Coworkers_Email", "Email", "UpdatedSince", "Coworker_UpdatedOn_Gt"):
        assert api.get("spaces/coworkers", **{wrong: "anna@example.com"}).json()["TotalItems"] == total, wrong
    api.sale()
    total = api.get("billing/coworkerproducts").json()["TotalItems"]
    assert api.get("billing/coworkerproducts", CoworkerProduct_CoworkerId=BEN).json()["TotalItems"] == total


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ({"Coworker_Email": "ANNA@example.com"}, [ANNA]),
        ({"Coworker_Email": "anna@"}, []),
        ({"Coworker_FullName": "ben"}, [BEN]),
        ({"Coworker_Archived": "true"}, [OLD]),
        ({"Coworker_Tariff": "notnull"}, [OLD]),
        ({"Coworker_Teams": 6}, [BEN]),
        ({"Id": BEN}, [BEN]),
        ({"Coworker_PaperCutFreePrinting": "true", "Coworker_Active": "true"}, [BEN]),
        ({"from_Coworker_TariffId": 1}, []),
    ],
)
def test_filters_of_customers(api: Api, query: dict, ids: list[int]) -> None:
    found = [row["Id"] for row in api.rows("spaces/coworkers", **query, size=1000)]
    if query == {"from_Coworker_TariffId": 1}:
        assert len(found) > 3, "a reference has no Id suffix in filters, so this one is ignored"
    else:
        assert found == ids


def test_filters_follow_references(api: Api) -> None:
    credits_ = "billing/coworkerextraservices"
    assert [row["Id"] for row in api.rows(credits_, CoworkerExtraService_Coworker=ANNA)] == [CREDIT]
    assert api.rows(credits_, CoworkerExtraService_Coworker=BEN) == []
    assert len(api.rows(credits_, CoworkerExtraService_ExtraService_IsPrintingCredit="true")) >= 1
    assert api.rows(credits_, CoworkerExtraService_ExtraService_Name="nothing") == []


def test_ranges_have_the_precision_of_a_minute(api: Api) -> None:
    credits_, key = "billing/coworkerextraservices", "from_CoworkerExtraService_UpdatedOn"
    for moment in ("2026-11-09T10:15", "2026-11-09T10:15:59Z", "2026-11-09T10:15:00.0000000Z"):
        assert CREDIT in [row["Id"] for row in api.rows(credits_, **{key: moment})], moment
    assert (
        api.rows(credits_, **{key: "2026-11-09T10:16", "to_CoworkerExtraService_UpdatedOn": "2026-11-09T10:17"}) == []
    )
    api.switch(range_seconds="honour")
    bounds = {key: "2026-11-09T10:15:41Z", "to_CoworkerExtraService_UpdatedOn": "2026-11-09T11:00"}
    assert api.rows(credits_, **bounds) == []


def test_a_list_is_a_summary_with_whole_seconds(api: Api) -> None:
    listed = api.rows("spaces/coworkers", Coworker_Email="ben@example.com")[0]
    assert (listed["Businesses"], listed["Teams"], listed["TeamIds"]) == (None, None, "5,6")
    single = api.get(f"spaces/coworkers/{BEN}").json()
    assert (single["Businesses"], single["Teams"]) == ([LONDON], [5, 6])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", listed["CreatedOn"])
    api.switch(list_omit=["AccessPincode"])
    assert "AccessPincode" not in api.rows("spaces/coworkers", Coworker_Email="ben@example.com")[0]


def test_order_and_direction(api: Api) -> None:
    def ids(**query: object) -> list[int]:
        return [row["Id"] for row in api.rows("spaces/coworkers", size=1000, **query)]

    names = [row["FullName"] for row in api.rows("spaces/coworkers", size=1000)]
    assert names == sorted(names, key=str.casefold)
    assert ids(orderby="id", dir="Descending") == sorted(ids(), reverse=True)
    assert ids(orderBy="Id", dir=1) == sorted(ids(), reverse=True)
    api.switch(dir_meaning="1asc_-1desc")
    assert ids(orderBy="Id", dir=1) == sorted(ids())
    assert ids(orderBy="Id", dir=-1) == sorted(ids(), reverse=True)


def test_batches(api: Api) -> None:
    batch = api.get("spaces/coworkers/", id=f"[{BEN},{ANNA},1]").json()
    assert [record["Id"] for record in batch] == [BEN, ANNA]
    assert batch[0]["Teams"] == [5, 6]
    api.switch(batch_shape="envelope")
    assert api.get("spaces/coworkers/", id=f"[{BEN}]").json()["TotalItems"] == 1


def test_lists_may_lag_but_reads_by_id_do_not(api: Api) -> None:
    api.switch(list_lag_seconds=60)
    sale = api.sale(Notes="lagging")
    assert api.get(f"billing/coworkerproducts/{sale['Id']}").json()["Notes"] == "lagging"
    assert api.rows("billing/coworkerproducts", CoworkerProduct_Notes="lagging") == []
    api.admin("coworkerproducts", id=sale["Id"], set={"Notes": "changed"})
    api.advance(61)
    assert [row["Id"] for row in api.rows("billing/coworkerproducts", CoworkerProduct_Notes="changed")] == [sale["Id"]]
    api.client.delete(f"billing/coworkerproducts/{sale['Id']}")
    assert api.get(f"billing/coworkerproducts/{sale['Id']}").status_code == 404
    assert len(api.rows("billing/coworkerproducts", CoworkerProduct_Notes="changed")) == 1
    api.advance(61)
    assert api.rows("billing/coworkerproducts", CoworkerProduct_Notes="changed") == []


# Writes (3 to 6) ----------------------------------------------------------------------------------------------------


def test_a_sale_is_answered_as_in_the_sample(api: Api) -> None:
    request = sample("01") | {"CoworkerId": ANNA, "BusinessId": LONDON, "ProductId": PRODUCT, "Quantity": 9}
    answer = api.post("billing/coworkerProducts", request)
    body, real = answer.json(), sample("02")
    assert set(body) == set(real)
    assert set(body["Value"]) == set(real["Value"])
    assert {key: type(value) for key, value in body["Value"].items() if value is not None} == {
        key: type(value) for key, value in real["Value"].items() if value is not None and key != "CoworkerCompanyName"
    }
    assert body["Message"] == real["Message"]
    assert b'"ProductPrice":0.01000,' in answer.content
    assert b'"TotalPrice":0.09000,"UnitPrice":0.01000,"RecurringTotal":0.0,' in answer.content
    assert "Impresión".encode() in answer.content, "text is UTF-8 on the wire, not escaped"
    assert body["Value"]["SaleDate"] == "2026-04-06T12:35:11.1Z"
    assert re.fullmatch(r"[^.]+(\.\d{1,7})?Z", body["Value"]["CreatedOn"])
    assert body["Value"]["CoworkerFullName"] == "Anna Ash"


def test_a_credit_and_a_customer_have_the_keys_of_the_samples(api: Api) -> None:
    credit = {"CoworkerId": BEN, "BusinessId": LONDON, "ExtraServiceId": RATE, "TotalUses": 500, "ChargePeriod": 5}
    made = api.post("billing/coworkerextraservices", credit | {"ExpireDate": "2027-02-01T00:00:00Z"}).json()["Value"]
    real = sample("03")
    assert set(made) == set(real)
    same = ("RemainingUses", "ExpireDate", "ExtraServiceIsPrintingCredit", "ExtraServiceName", "Price", "ChargePeriod")
    assert {key: made[key] for key in same} == {key: real[key] for key in same}

    priced = api.post("billing/coworkerextraservices", credit | {"Price": 5})
    assert b'"Price":5.0,' in priced.content, "a whole decimal keeps a point on the wire"

    person = api.post("spaces/coworkers", NEW | {"Gender": 2}).json()["Value"]
    real = sample("04")
    assert set(real) <= set(person)
    differing = {
        key
        for key, value in real.items()
        if value is not None and not isinstance(value, str) and person[key] != value and "Id" not in key
    }
    assert differing == {"Teams"}
    assert re.fullmatch(r"\d{5}", person["AccessPincode"])
    assert person["Businesses"] == [LONDON], "a location left out falls back silently to another one"
    assert person["ToStringText"] == "New Person - new@example.com"


def test_a_create_without_required_fields_is_answered_as_in_the_sample(api: Api) -> None:
    answer = api.post("spaces/coworkers", {})
    assert (answer.status_code, answer.json()) == (400, sample("07"))
    answer = api.post("billing/coworkerproducts", SALE | {"CoworkerId": None})
    assert (answer.status_code, answer.json()["Status"]) == (400, 500)
    assert answer.json()["Message"] == "Coworker: is a required field"


def test_a_delete_is_answered_as_in_the_sample(api: Api) -> None:
    path = f"billing/coworkerproducts/{api.sale()['Id']}"
    answer = api.client.delete(path)
    assert (answer.status_code, answer.json()) == (200, sample("08"))
    gone = api.client.delete(path)
    assert (gone.status_code, gone.json()) == (404, "Not found")
    assert api.client.delete(f"spaces/coworkers/{ANNA}").status_code == 405


def test_a_put_replaces_the_whole_record(api: Api) -> None:
    number = api.customer(PaperCutPayAsYouPrint=True, ReferenceNumber="R1", AccessPincode="01234")
    partial = api.client.put("spaces/coworkers", json={"Id": number, "FullName": "New Person"})
    assert (partial.status_code, partial.json()["Status"]) == (400, 500)
    assert "is a required field" in partial.json()["Message"]

    record = api.get(f"spaces/coworkers/{number}").json()
    answer = api.client.put("spaces/coworkers", json=record | {"PaperCutUserId": "new@example.com"})
    assert answer.json()["Value"] == {"Id": number}
    kept = api.get(f"spaces/coworkers/{number}").json()
    changed = {key for key in kept if kept[key] != record[key]}
    assert changed <= {"PaperCutUserId", "UpdatedOn", "UpdatedBy"}

    for name in ("PaperCutPayAsYouPrint", "ReferenceNumber", "AccessPincode", "Businesses", "Active"):
        del record[name]
    assert api.client.put("spaces/coworkers", json=record).status_code == 200
    cleared = api.get(f"spaces/coworkers/{number}").json()
    names = ("PaperCutPayAsYouPrint", "ReferenceNumber", "AccessPincode", "Businesses", "PaperCutUserId", "Active")
    assert [cleared[name] for name in names] == [False, None, None, [], None, False]
    assert cleared["RegistrationDate"] == kept["RegistrationDate"], "read-only fields stay"
    assert api.client.put("spaces/coworkers", json=record | {"Id": 5}).status_code == 404


@pytest.mark.parametrize(
    ("rule", "status", "left"), [("ignore", 200, 500), ("honour", 200, 450), ("reject_400", 400, 500)]
)
def test_remaining_uses_obey_their_switch(api: Api, rule: str, status: int, left: int) -> None:
    made = api.admin(
        "coworkerextraservices",
        set={"CoworkerId": BEN, "BusinessId": LONDON, "ExtraServiceId": RATE, "TotalUses": 500},
    )
    api.switch(credit_put_remaining=rule)
    record = api.get(f"billing/coworkerextraservices/{made['Id']}").json()
    answer = api.client.put("billing/coworkerextraservices", json=record | {"RemainingUses": 450})
    assert answer.status_code == status
    assert api.get(f"billing/coworkerextraservices/{made['Id']}").json()["RemainingUses"] == left


def test_credits_are_used_by_expiry_and_by_command(api: Api) -> None:
    number = api.customer()
    base = {"CoworkerId": number, "BusinessId": LONDON, "ExtraServiceId": RATE, "TotalUses": 10}
    later = api.admin("coworkerextraservices", set=base | {"ExpireDate": "2027-12-01T00:00:00Z"})["Id"]
    sooner = api.admin("coworkerextraservices", set=base | {"ExpireDate": "2027-01-01T00:00:00Z"})["Id"]
    assert api.admin("coworkerextraservices", coworker_id=number, use=12) == {"used": 12}
    left = [api.get(f"billing/coworkerextraservices/{each}").json()["RemainingUses"] for each in (sooner, later)]
    assert left == [0, 8]

    command = {"Key": "ADJUST", "Ids": [later], "Parameters": [{"Name": "Uses", "Type": "int", "Value": 3}]}
    assert api.post("billing/coworkerextraservices/runcommand", command).status_code == 500
    api.switch(credit_command={"key": "ADJUST", "effect": "use"})
    assert api.post("billing/coworkerextraservices/runcommand", command).json()["WasSuccessful"] is True
    assert api.get(f"billing/coworkerextraservices/{later}").json()["RemainingUses"] == 5


def test_an_invoiced_sale_has_its_line_and_can_not_be_deleted(api: Api) -> None:
    number = api.customer()
    sale = api.sale(CoworkerId=number, Quantity=30, PurchaseOrder="PB-1")
    command = {"Key": "COWORKER_BILL_RUN", "Ids": [number], "Parameters": []}
    assert api.post("spaces/coworkers/runcommand", command).json()["WasSuccessful"] is True
    billed = api.get(f"billing/coworkerproducts/{sale['Id']}").json()
    assert billed["Invoiced"] is True
    lines = api.rows("billing/coworkerinvoicelines", CoworkerInvoiceLine_CoworkerInvoice=billed["CoworkerInvoiceId"])
    assert [(line["CoworkerProductUniqueId"], line["SubTotal"]) for line in lines] == [(sale["UniqueId"], 0.3)]
    assert set(sample("05")) <= set(lines[0])
    assert (lines[0]["Description"], lines[0]["PurchaseOrder"]) == (sale["ProductName"], "PB-1")
    api.admin("coworkerinvoices", id=billed["CoworkerInvoiceId"], set={"Paid": True})
    assert api.get(f"billing/coworkerproducts/{sale['Id']}").json()["CoworkerInvoicePaid"] is True

    path = f"billing/coworkerproducts/{sale['Id']}"
    assert api.client.delete(path).status_code == 400
    api.switch(delete_invoiced_sale="refuse_200_false")
    assert (api.client.delete(path).status_code, api.client.delete(path).json()["WasSuccessful"]) == (200, False)
    api.switch(delete_invoiced_sale="refuse_500")
    assert api.client.delete(path).json()["Message"].startswith("Ooops!")
    assert api.post("spaces/coworkers/runcommand", command | {"Key": "COWORKER_DELETE"}).status_code == 500
    api.switch(delete_invoiced_sale="allow")
    assert api.client.delete(path).status_code == 200


def test_a_deleted_customer_vanishes_but_the_state_keeps_it(api: Api) -> None:
    number = api.customer(Email="gone@example.com")
    command = {"Key": "COWORKER_DELETE", "Ids": [number], "Parameters": []}
    assert api.post("spaces/coworkers/runcommand", command).json()["WasSuccessful"] is True
    assert api.get(f"spaces/coworkers/{number}").status_code == 404
    assert api.rows("spaces/coworkers", Coworker_Email="gone@example.com") == []
    kept = [row for row in api.control("GET", "state")["nexudus"]["coworkers"] if row["Id"] == number]
    assert [row["Deleted"] for row in kept] == [True]


@pytest.mark.parametrize(
    ("more", "switches", "status"),
    [
        ({"Quantity": -1}, {}, 400),
        ({"Quantity": -1}, {"negative_sale": "allow"}, 200),
        ({"ProductId": 1}, {}, 400),
        ({"RepeatCycle": "Month"}, {}, 200),
        ({"RepeatCycle": "Month"}, {"enum_words": "reject_400"}, 400),
        ({"SaleDate": "tomorrow"}, {}, 400),
        ({"Notes": "x" * 300}, {"notes_max": 255, "text_over": "reject_400"}, 400),
    ],
)
def test_what_makes_a_sale_valid(api: Api, more: dict, switches: dict, status: int) -> None:
    api.switch(**switches)
    assert api.post("billing/coworkerproducts", SALE | more).status_code == status


def test_texts_may_be_cut_silently(api: Api) -> None:
    api.switch(notes_max=10, purchase_order_max=4)
    sale = api.sale(Notes="0123456789ABC", PurchaseOrder="PB-123")
    assert (sale["Notes"], sale["PurchaseOrder"]) == ("0123456789", "PB-1")


def test_the_price_of_a_sale_is_per_unit_or_in_total(api: Api) -> None:
    assert api.sale(Price=0.5, Quantity=4)["TotalPrice"] == 2.0
    api.switch(sale_price_meaning="total")
    sale = api.sale(Price=0.5, Quantity=4)
    assert (sale["TotalPrice"], sale["UnitPrice"]) == (0.5, 0.125)


def test_enumerations_and_unknown_addresses(api: Api) -> None:
    assert {"Id": 5, "Name": "Uses"} in api.get("utils/enums", name="eChargePeriod").json()
    for path in ("billing/coworkers", "spaces/nothing", f"spaces/coworkers/{ANNA}/more", "nothing"):
        assert (api.get(path).status_code, api.get(path).json()) == (404, "Not found"), path
