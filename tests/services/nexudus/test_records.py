"""The records of Nexudus: one odd record harms itself only, and is named by its id and field."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.domain import tables
from pipeline.domain.money.references import reference
from pipeline.errors import PermanentError
from pipeline.services.digests import Digester
from pipeline.services.nexudus import records
from pipeline.services.nexudus.wire import moment
from pipeline.services.reading import LARGEST, Problem, Read

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
SAMPLES = Path(__file__).parents[2] / "fixtures" / "nexudus"
DIGEST = Digester("key")
REF = reference("london", "17", "sale", 0)

Record = dict[str, Any]

CUSTOMER: Record = {
    "Id": 101, "Email": "anna@example.com", "FullName": "Anna Ash", "CoworkerType": 1, "Active": True,
    "Archived": False,
    "PaperCutFreePrinting": False, "PaperCutPayAsYouPrint": True, "InvoicingBusinessId": 9, "AccessPincode": "20100",
    "AccessCardId": None, "KeyFobNumber": None, "TariffId": 0, "CoworkerContractIds": None, "TeamNames": None,
    "CompanyName": None, "RegistrationDate": "2026-08-27T08:29:19.0110575Z", "CreatedOn": "2026-08-27T08:29:18Z",
    "UpdatedOn": "2026-08-27T08:29:18.7760862Z", "EzeepFreePrinting": False, "EzeepBlueFreePrinting": False,
}  # fmt: skip
CREDIT: Record = {
    "Id": 7, "CoworkerId": 101, "BusinessId": 9, "ExtraServiceId": 31, "ExtraServiceIsPrintingCredit": True,
    "TotalUses": 500, "RemainingUses": 320, "ValidFrom": None, "ExpireDate": "2027-02-01T00:00:00Z", "Price": 0.0,
    "Notes": None, "UpdatedOn": "2026-08-27T08:38:12.4973123Z",
}  # fmt: skip
SALE: Record = {
    "Id": 55, "CoworkerId": 101, "Quantity": 40, "Price": None, "UnitPrice": Decimal("0.01"),
    "TotalPrice": Decimal("0.40"), "Invoiced": False, "PurchaseOrder": None, "Notes": None,
    "SaleDate": "2024-01-31T00:00:00Z", "CreatedOn": "2026-08-27T08:41:34.1293894Z",
    "UpdatedOn": "2026-08-27T08:41:34.1762599Z",
}  # fmt: skip
PRODUCT: Record = {
    "Id": 3, "Name": "Printing", "BusinessId": 9, "Price": Decimal("0.01"), "Archived": False, "CurrencyCode": "GBP",
    "UpdatedOn": "2026-08-27T08:41:34Z",
}  # fmt: skip


def customers(*rows: Record) -> Read:
    return records.read_customers(rows, DIGEST, moment, NOW)


def credits_(*rows: Record) -> Read:
    return records.read_credits(rows, moment, NOW)


def changed(record: Record, **values: Any) -> Record:
    return record | {"Id": 1} | values


# --- customers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "column", "means"),
    [
        ("AccessPincode", 20100, "pin_digest", DIGEST("20100")),
        ("AccessPincode", " 20108 ", "pin_digest", DIGEST("20108")),
        ("AccessPincode", "00007", "pin_digest", DIGEST("00007")),
        ("AccessPincode", Decimal("20100.0"), "pin_digest", DIGEST("20100")),
        ("AccessPincode", None, "pin_digest", None),
        ("AccessPincode", " \t", "pin_digest", None),
        ("AccessCardId", 4711, "access_card_digest", DIGEST("4711")),
        ("AccessCardId", "4711\n", "access_card_digest", DIGEST("4711")),
        ("KeyFobNumber", 0, "key_fob_digest", DIGEST("0")),
        ("Email", " Anna@Example.com ", "email", "Anna@Example.com"),
        ("Email", None, "email", None),
        ("Email", "", "email", None),
        ("FullName", "Anna\u000bAsh", "full_name", "Anna Ash"),
        ("FullName", "\x00\x1fAnna\x7f\x9fAsh\n", "full_name", "Anna Ash"),
        ("FullName", "Anna \ud83d Ash", "full_name", "Anna \ufffd Ash"),
        ("FullName", "Anna \ud83d\ude00", "full_name", "Anna \U0001f600"),
        ("FullName", "Anna  Ash", "full_name", "Anna  Ash"),
        ("FullName", "\u5c71\u7530 \u592a\u90ce", "full_name", "\u5c71\u7530 \u592a\u90ce"),
        ("FullName", 12345, "full_name", "12345"),
        ("FullName", None, "full_name", ""),
        ("FullName", "x" * 5000, "full_name", "x" * 254),
        ("TeamNames", ["A"], "team", "A"),
        ("TeamNames", ["A", None, " B "], "team", "A, B"),
        ("TeamNames", "A, B", "team", "A, B"),
        ("CompanyName", "", "company", None),
        ("CoworkerType", 2, "kind", "company"),
        ("CoworkerType", "Company", "kind", "company"),
        ("CoworkerType", " individual ", "kind", "individual"),
        ("Active", 0, "active", False),
        ("Active", "True", "active", True),
        ("Archived", "false", "archived", False),
        ("PaperCutFreePrinting", 1, "free", True),
        ("PaperCutPayAsYouPrint", "0", "pay", False),
        ("InvoicingBusinessId", "9", "business_id", 9),
        ("InvoicingBusinessId", None, "business_id", None),
        ("InvoicingBusinessId", 0, "business_id", None),
        ("TariffId", 77, "member", True),
        ("TariffId", "0", "member", False),
        ("CoworkerContractIds", "1417000585,1417000586", "member", True),
        ("CoworkerContractIds", [], "member", False),
        ("RegistrationDate", "0001-01-01T00:00:00", "registered_at", datetime(2026, 8, 27, 8, 29, 18, tzinfo=UTC)),
        ("RegistrationDate", "0001-01-01T00:00:00+05:00", "registered_at",
         datetime(2026, 8, 27, 8, 29, 18, tzinfo=UTC)),
        ("RegistrationDate", None, "registered_at", datetime(2026, 8, 27, 8, 29, 18, tzinfo=UTC)),
        ("RegistrationDate", "2026-08-27", "registered_at", datetime(2026, 8, 27, tzinfo=UTC)),
        ("UpdatedOn", "2026-08-27T08:29:18", "updated_on", datetime(2026, 8, 27, 8, 29, 18, tzinfo=UTC)),
    ],
)  # fmt: skip
def test_what_an_odd_value_of_a_customer_stands_for(field: str, value: Any, column: str, means: Any) -> None:
    read = customers(CUSTOMER, changed(CUSTOMER, **{field: value}))
    assert read.problems == []
    assert tables.checked("nexudus_customers", read.frame).filter(coworker_id=1)[column].item() == means


MISSING = object()


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("PaperCutFreePrinting", None, "is null where yes or no belongs"),
        ("PaperCutPayAsYouPrint", None, "is null where yes or no belongs"),
        ("Active", None, "is null where yes or no belongs"),
        ("Active", "maybe", "is another text where yes or no belongs"),
        ("Active", 2, "is another number where yes or no belongs"),
        ("Active", Decimal("NaN"), "is another number where yes or no belongs"),
        ("Archived", None, "is null where yes or no belongs"),
        ("Archived", [], "is a list where yes or no belongs"),
        ("Active", MISSING, "is missing"),
        ("AccessPincode", MISSING, "is missing"),
        ("AccessPincode", ["20100"], "is a list where a whole number belongs"),
        ("AccessPincode", True, "is yes or no where a whole number belongs"),
        ("AccessPincode", -5, "is not between 0"),
        ("AccessPincode", Decimal("20100.5"), "is no whole number"),
        ("AccessPincode", "20\u000b100", "holds a character that cannot be typed or sent"),
        ("AccessPincode", "1" * 65, "is longer than 64 characters"),
        ("AccessCardId", {"a": 1}, "is an object where a whole number belongs"),
        ("KeyFobNumber", "\ud83d", "holds a character that cannot be typed or sent"),
        ("Email", 5, "is another number where an e-mail belongs"),
        ("Email", "an\ud800na@example.com", "holds a control character or half a character"),
        ("Email", "an\x00na@example.com", "holds a control character or half a character"),
        ("FullName", {"first": "Anna"}, "is an object where a text belongs"),
        ("FullName", MISSING, "is missing"),
        ("CoworkerType", None, "is null where Individual or Company belongs"),
        ("CoworkerType", 3, "is another number where Individual or Company belongs"),
        ("CoworkerType", True, "is yes or no where Individual or Company belongs"),
        ("InvoicingBusinessId", "nine", "is another text where a whole number belongs"),
        ("InvoicingBusinessId", 2**63, "is not between 0"),
        ("TariffId", -1, "is not between 0"),
        ("UpdatedOn", None, "is no date"),
        ("UpdatedOn", MISSING, "is missing"),
        ("UpdatedOn", "0001-01-01T00:00:00", "is no date"),
        ("UpdatedOn", "soon", "is no date"),
        ("UpdatedOn", 1766000000, "is another number where a date belongs"),
        ("UpdatedOn", "9999-12-31T23:59:59.9999999Z", "is a date before 1900 or after 9000"),
        ("UpdatedOn", "9999-12-31T23:59:59-05:00", "is no date"),
        ("UpdatedOn", "2999-01-01T00:00:00Z", "is more than a year after the read"),
        ("RegistrationDate", "soon", "is no date"),
    ],
)
def test_a_customer_that_cannot_be_read_is_left_out_alone_and_named(field: str, value: Any, why: str) -> None:
    odd = {name: each for name, each in changed(CUSTOMER, **{field: value}).items() if each is not MISSING}
    read = customers(odd, CUSTOMER)
    assert read.frame["coworker_id"].to_list() == [101]
    assert [(each.id, each.field) for each in read.problems] == [("1", field)]
    assert read.problems[0].why.startswith(why)
    with pytest.raises(PermanentError, match=f"1 records cannot be read: 1: {field} {why[:10]}"):
        records.customers([odd, CUSTOMER], DIGEST, moment, NOW)


@pytest.mark.parametrize("id_", [None, MISSING, "", "x", 0, -3, 2**63, 10**4000, True, [], Decimal("NaN")])
def test_a_customer_without_an_id_is_named_too(id_: Any) -> None:
    odd = {name: each for name, each in changed(CUSTOMER, Id=id_).items() if each is not MISSING}
    read = customers(CUSTOMER, odd)
    assert read.frame["coworker_id"].to_list() == [101]
    assert [each.field for each in read.problems] == ["Id"]


def test_a_problem_says_when_the_record_was_changed_and_shows_no_secret() -> None:
    (found,) = customers(changed(CUSTOMER, AccessPincode="987\u000b65")).problems
    assert found.changed_at == moment(CUSTOMER["UpdatedOn"])
    assert "987" not in str(found)


@pytest.mark.parametrize("value", ["20100", " 20108 ", 20100, "007", None, "", 0])
def test_what_is_written_is_what_is_digested(value: Any) -> None:
    record = changed(CUSTOMER, AccessPincode=value, AccessCardId=value, KeyFobNumber=value)
    row = customers(record).frame.row(0, named=True)
    assert DIGEST(records.pin(record)) == row["pin_digest"]
    assert DIGEST(records.card(record, "AccessCardId")) == row["access_card_digest"]
    assert DIGEST(records.card(record, "KeyFobNumber")) == row["key_fob_digest"]
    assert records.pin(record) in {None, str(value).strip()}


def test_a_pin_that_cannot_be_read_is_not_written() -> None:
    with pytest.raises(PermanentError, match=r"Customer 1: AccessPincode is a list.*nothing was written"):
        records.pin(changed(CUSTOMER, AccessPincode=["20100"]))


# --- credits, sales, products -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "column", "means"),
    [
        ("RemainingUses", "320", "remaining_uses", 320),
        ("RemainingUses", Decimal("320.0"), "remaining_uses", 320),
        ("RemainingUses", 0, "remaining_uses", 0),
        ("RemainingUses", -5, "remaining_uses", -5),
        ("TotalUses", None, "total_uses", 0),
        ("ExpireDate", "0001-01-01T00:00:00", "expires_at", None),
        ("ExpireDate", "9999-12-31T23:59:59.9999999", "expires_at", None),
        ("ExpireDate", "9999-12-31T23:59:59-05:00", "expires_at", None),
        ("ValidFrom", "", "valid_from", None),
        ("Notes", f"moved {REF} by hand", "last_use", REF),
        ("Notes", [REF], "last_use", REF),
        ("Notes", 17, "last_use", None),
        ("BusinessId", None, "business_id", None),
    ],
)
def test_what_an_odd_value_of_a_credit_stands_for(field: str, value: Any, column: str, means: Any) -> None:
    read = credits_(CREDIT, changed(CREDIT, **{field: value}))
    assert read.problems == []
    assert tables.checked("nexudus_credits", read.frame).filter(credit_id=1)[column].item() == means


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ExtraServiceIsPrintingCredit", None),
        ("RemainingUses", None),
        ("RemainingUses", Decimal("1E+999999999")),
        ("RemainingUses", LARGEST + 1),
        ("RemainingUses", Decimal("0.5")),
        ("TotalUses", "many"),
        ("CoworkerId", None),
        ("CoworkerId", 0),
        ("ExtraServiceId", "x"),
        ("ExpireDate", "31.12.2026"),
        ("ValidFrom", "9999-12-31T00:00:00Z"),
        ("UpdatedOn", None),
    ],
)
def test_a_credit_that_cannot_be_read_is_left_out_alone_and_named(field: str, value: Any) -> None:
    read = credits_(changed(CREDIT, **{field: value}), CREDIT)
    assert read.frame["credit_id"].to_list() == [7]
    assert [(each.id, each.field) for each in read.problems] == [("1", field)]


TEAM = {
    "Id": 7, "Name": "Blue", "BusinessId": 1, "PayingMemberId": 9, "ShareExtraServices": True,
    "TransferCreditsToPayingMember": False, "CoworkerIds": "2,1", "UpdatedOn": "2026-11-01T00:00:00Z",
}  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value", "column", "means"),
    [
        ("CoworkerIds", "2, 1,2,", "members", "1,2"),
        ("CoworkerIds", 5, "members", "5"),
        ("CoworkerIds", ["3", 1], "members", "1,3"),
        ("CoworkerIds", None, "members", ""),
        ("CoworkerIds", "", "members", ""),
        ("PayingMemberId", None, "payer_id", None),
        ("PayingMemberId", 0, "payer_id", None),
        ("PayingMemberId", " 9 ", "payer_id", 9),
        ("Name", None, "name", ""),
        ("ShareExtraServices", "true", "shares", True),
        ("TransferCreditsToPayingMember", 1, "combines", True),
    ],
)
def test_what_an_odd_value_of_a_team_stands_for(field: str, value: Any, column: str, means: Any) -> None:
    read = records.read_teams([TEAM, changed(TEAM, **{field: value})], moment, NOW)
    assert read.problems == []
    assert tables.checked("nexudus_teams", read.frame).filter(team_id=1)[column].item() == means


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("CoworkerIds", "1,x"),
        ("CoworkerIds", {"1": 2}),
        ("CoworkerIds", "1,0"),
        ("PayingMemberId", "nobody"),
        ("PayingMemberId", -9),
        ("ShareExtraServices", None),
        ("TransferCreditsToPayingMember", "perhaps"),
        ("UpdatedOn", None),
    ],
)
def test_a_team_that_cannot_be_read_is_left_out_alone_and_named(field: str, value: Any) -> None:
    read = records.read_teams([changed(TEAM, **{field: value}), TEAM], moment, NOW)
    assert read.frame["team_id"].to_list() == [7]
    assert [(each.id, each.field) for each in read.problems] == [("1", field)]


def test_a_team_read_by_its_id_names_its_members_in_a_list_and_a_team_that_comes_twice_counts_once() -> None:
    whole = {**TEAM, "CoworkerIds": None, "TeamMembers": [4, 2]}
    assert records.read_teams([TEAM, whole], moment, NOW).frame["members"].to_list() == ["2,4"]


def test_what_is_surely_no_printing_credit_is_nobodys_problem() -> None:
    read = credits_(changed(CREDIT, ExtraServiceIsPrintingCredit=False, RemainingUses=None, UpdatedOn=None))
    assert (read.frame.height, read.problems) == (0, [])


@pytest.mark.parametrize(
    ("field", "value", "column"),
    [
        ("CoworkerId", None, "coworker_id"),
        ("Quantity", "many", "quantity"),
        ("Quantity", MISSING, "quantity"),
        ("TotalPrice", "dear", "total_cents"),
        ("TotalPrice", Decimal("1E+999999"), "total_cents"),
        ("Invoiced", None, "invoiced"),
        ("SaleDate", "soon", "sold_at"),
    ],
)
def test_a_sale_of_ours_is_never_left_out(field: str, value: Any, column: str) -> None:
    sale = {name: each for name, each in changed(SALE, **{field: value}).items() if each is not MISSING}
    read = records.read_sales([SALE, sale | {"PurchaseOrder": REF}, sale | {"Id": 2}])
    assert read.frame["remote_id"].to_list() == [55, 1], "the one without a reference concerns no line"
    row = read.frame.row(1, named=True)
    assert (row["ref"], row[column]) == (REF, None)
    assert {(each.id, each.field) for each in read.problems} == {("1", field), ("2", field)}
    assert records.sales([SALE, sale | {"PurchaseOrder": REF}]).height == 2


@pytest.mark.parametrize("where", ["PurchaseOrder", "Notes"])
@pytest.mark.parametrize("form", [REF, f" {REF}\n", [REF], {"text": REF}, f"\ud83d{REF}"])
def test_a_reference_is_found_in_whatever_form_it_comes(where: str, form: Any) -> None:
    assert records.sales([changed(SALE, **{where: form})])["ref"].to_list() == [REF]


@pytest.mark.parametrize(
    ("amount", "means"),
    [
        (Decimal("0.40"), 40), (1, 100), ("0.40", 40), (0.1, 10), (Decimal("0.405"), None), (None, None), ("", None),
        ("dear", None), (True, None), ([], None), (Decimal("NaN"), None), (Decimal("1E+999999999"), None),
        (float("inf"), None), (10**4000, None),
    ],
)  # fmt: skip
def test_an_amount_is_whole_cents_or_nothing(amount: Any, means: int | None) -> None:
    assert records.cents(amount) == means


def test_a_product_is_read_by_the_same_rules() -> None:
    odd = [changed(PRODUCT, Price="0.01", Archived="false"), changed(PRODUCT, Id=2, Archived=None)]
    read = records.read_products([PRODUCT, *odd])
    assert read.frame.schema == records.PRODUCTS
    assert read.frame["price_cents"].to_list() == [1, 1]
    assert [(each.id, each.field) for each in read.problems] == [("2", "Archived")]


def test_rows_as_live_accounts_give_them_are_neither_lost_nor_changed() -> None:
    """Fractions of 0 to 7 digits, amounts of 0.0, no price beside a unit price, sale dates years from the creation."""
    fractions = ["", *("." + "1234567"[:digits] for digits in range(1, 8))]
    dates = [f"2026-08-27T08:29:18{fraction}Z" for fraction in fractions]
    rows = [changed(CUSTOMER, Id=key, UpdatedOn=date) for key, date in enumerate(dates, 1)]
    read = customers(*rows)
    assert read.problems == []
    assert read.frame["updated_on"].to_list() == [moment(date) for date in dates]
    sold = records.read_sales([changed(SALE, TotalPrice=Decimal("0.0")), SALE])
    assert sold.problems == []
    assert sold.frame.select("quantity", "total_cents", "invoiced").rows() == [(40, 0, False), (40, 40, False)]
    assert sold.frame["sold_at"].to_list() == [datetime(2024, 1, 31, tzinfo=UTC)] * 2
    assert credits_(CREDIT, changed(CREDIT, Price=None)).frame["remaining_uses"].to_list() == [320, 320]


def test_the_samples_are_read() -> None:
    customer = json.loads((SAMPLES / "04-coworker-create-value.json").read_text("utf-8"), parse_float=Decimal)
    credit = json.loads((SAMPLES / "03-coworkerextraservice-printing-credit.json").read_text("utf-8"))
    sale = json.loads((SAMPLES / "02-post-coworkerproducts-response.json").read_text("utf-8"), parse_float=Decimal)
    assert [customers(customer).problems, credits_(credit).problems] == [[], []]
    assert records.read_sales([sale["Value"]]).problems == []


# --- generated: 10,000 odd records and more of each kind --------------------------------------------------------------

ODD = st.one_of(
    st.sampled_from([
        None, "", " ", "0", 0, 1, -1, 2, True, False, [], {}, ["A"], {"a": [None]}, "x" * 5000, 10**30, 2**63, 10**13,
        Decimal("NaN"), Decimal("Infinity"), Decimal("1E+999999999"), Decimal("-0.5"), Decimal("500.0"), 0.5, 1e300,
        float("nan"), "20108", " 20108 ", "NaN", "true", "False", "yes", "1e9", "\x00", "a\u000bb", "\ud800",
        "\udc00x", "\U0001f600", "\u202ex", "\ufffe", "2026-11-20", "0001-01-01T00:00:00", "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59-14:00", "2026-02-30T00:00:00Z",
        "2026-11-20T09:00:00.1234567",
        "1899-12-31T00:00:00Z", "2999-01-01T00:00:00Z", "31/12/2026", "\u0662\u0660\u0662\u0666-11-20T09:00:00Z",
        "anna@example.com", "An\u00e4\u200b@example.com", REF, f"{REF}\ud800",
    ]),
    st.text(st.characters(exclude_categories=()), max_size=12),
    st.integers(),
    st.decimals(),
    st.floats(),
    st.datetimes().map(datetime.isoformat),
    st.lists(st.one_of(st.none(), st.text(max_size=3), st.integers()), max_size=3),
)  # fmt: skip
"""Values that no field should have, and some that it may."""

GONE = object()


VALUES = st.lists(st.one_of(ODD, st.just(GONE)), min_size=4, max_size=4)


def beside(good: Record, values: list[Any]) -> list[Record]:
    """A list in which each value stands once in each field of an odd record, beside as many good records."""
    rows: list[Record] = []
    for field in good.keys() - {"Id"}:
        for value in values:
            odd = good | {"Id": len(rows) + 2} | ({} if value is GONE else {field: value})
            if value is GONE:
                del odd[field]
            rows += [good | {"Id": len(rows) + 1}, odd]
    return rows


def check(read: Read, rows: list[Record], id_column: str) -> tuple[set[int], set[int]]:
    """What holds for every list: each record is either in the frame or named with a field; every good one is in it."""
    kept, named = set(read.frame[id_column].to_list()), {int(each.id) for each in read.problems}
    assert kept >= {row["Id"] for row in rows if row["Id"] % 2}, "a good record was lost"
    for each in read.problems:
        assert each.field
        assert each.why
        assert str(each).isascii()
    return kept, named


EACH = settings(max_examples=320)
"""Of at least 28 odd records each; of the customers, credits and sales more than 10,000 odd ones."""


@EACH
@given(values=VALUES)
def test_any_customer_is_read_or_named(values: list[Any]) -> None:
    rows = beside(CUSTOMER, values)
    read = customers(*rows)
    kept, named = check(read, rows, "coworker_id")
    assert kept | named == {row["Id"] for row in rows}
    assert not kept & named
    tables.checked("nexudus_customers", read.frame)
    digests = {row["coworker_id"]: row for row in read.frame.iter_rows(named=True)}
    for record in rows:
        if record["Id"] in kept:
            row = digests[record["Id"]]
            assert DIGEST(records.pin(record)) == row["pin_digest"], "what is written is not what was digested"
            assert DIGEST(records.card(record, "AccessCardId")) == row["access_card_digest"]
            assert DIGEST(records.card(record, "KeyFobNumber")) == row["key_fob_digest"]
            assert row["full_name"] == "".join(each for each in row["full_name"] if each >= " ").strip()
            assert row["updated_on"] <= NOW + timedelta(days=366)
            for field, column in (("Active", "active"), ("PaperCutFreePrinting", "free"), ("Archived", "archived")):
                assert record[field] is not None, "null was taken for a decision"
                assert row[column] == (str(record[field]).strip().lower() in {"true", "1", "1.0"})


@EACH
@given(values=VALUES)
def test_any_credit_is_read_or_named(values: list[Any]) -> None:
    rows = beside(CREDIT, values)
    read = credits_(*rows)
    kept, named = check(read, rows, "credit_id")
    others = {row["Id"] for row in rows if str(row.get("ExtraServiceIsPrintingCredit")).strip().lower() in NOT}
    assert kept | named == {row["Id"] for row in rows} - others
    assert not kept & named
    tables.checked("nexudus_credits", read.frame)
    if read.frame.height:
        assert read.frame["remaining_uses"].abs().max() <= LARGEST  # type: ignore[operator]


NOT = {"false", "0", "0.0", "-0.0", "0e-6"}


@EACH
@given(values=VALUES, ours=st.booleans())
def test_any_sale_is_read_or_named_and_one_of_ours_is_never_lost(values: list[Any], ours: bool) -> None:
    rows = beside(SALE, values)
    rows = [row | {"Notes": REF} for row in rows] if ours else rows
    read = records.read_sales(rows)
    kept, named = check(read, rows, "remote_id")
    assert kept | named == {row["Id"] for row in rows}
    assert read.frame.schema == records.SALES
    if ours:
        assert kept == {row["Id"] for row in rows}
        assert read.frame["ref"].null_count() == 0
    else:
        with_reference = {row["remote_id"] for row in read.frame.iter_rows(named=True) if row["ref"]}
        assert not (kept & named) - with_reference


@EACH
@given(values=VALUES)
def test_any_product_is_read_or_named(values: list[Any]) -> None:
    rows = beside(PRODUCT, values)
    kept, named = check(records.read_products(rows), rows, "product_id")
    assert kept | named == {row["Id"] for row in rows}
    assert not kept & named


@settings(max_examples=10)
@given(values=VALUES)
def test_an_odd_record_changes_nothing_of_the_others(values: list[Any]) -> None:
    rows = beside(CUSTOMER, values)
    alone = pl.concat([customers(row).frame for row in rows])
    assert customers(*rows).frame.equals(alone)


@settings(max_examples=2000)
@given(value=ODD)
def test_a_secret_is_read_or_refused_but_never_shown(value: Any) -> None:
    record = changed(CUSTOMER, AccessPincode=value)
    said, pin = "", None
    try:
        pin = records.pin(record)
    except PermanentError as error:
        said = str(error)
    assert not isinstance(value, str) or len(value) < 4 or value not in said
    assert pin is None or (pin == pin.strip() and pin.isprintable() and 0 < len(pin) <= 64)


def test_a_problem_is_a_sentence() -> None:
    assert str(Problem("17", "Active", "is missing")) == "17: Active is missing"
