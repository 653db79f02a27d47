"""The set-up changes while work is open: names, products, databases, a second installation.

What belongs here: what becomes of charges when bridge.toml or a server behind it is another one than before. What does
not: a server that fails (`test_reruns.py`).
"""

from __future__ import annotations

import shutil
from collections.abc import Generator
from pathlib import Path

import pytest

from pipeline.domain.money.references import reference, site_code
from pipeline.operations.causes import causes
from pipeline.operations.held import accept_jobs, decide
from pipeline.operations.site import rename, renumber
from pipeline.store.lines import lines_in, lines_of_site
from pipeline.store.sites import Record, free_code, records
from pipeline.store.stops import stopped
from tests.campaign.runs import CHARGES
from tests.harness import Harness, running
from tests.worlds import LONDON, customer, world

PAYER = customer(7, PaperCutPayAsYouPrint=True)
NEW_PRODUCT = {"Id": 61, "BusinessId": LONDON, "Name": "Printing anew", "Price": 0.01}


@pytest.fixture
def harness(folder: Path) -> Generator[Harness]:
    given = world([PAYER])
    given["nexudus"]["products"].append(NEW_PRODUCT)
    with running(folder, given, maturity_minutes=0) as harness:
        assert harness.sync().ok
        harness.advance(minutes=1)
        yield harness


def print_job(harness: Harness, cost: int = 40) -> str:
    return str(harness.print_job("c7@example.com", cost)["job_id"])


def synced(harness: Harness) -> None:
    harness.advance(minutes=1)
    outcome = harness.sync()
    assert outcome.ok, outcome.failures


# --- the product -----------------------------------------------------------------------------------------------------


def test_a_sale_without_an_answer_is_looked_up_under_the_product_it_was_made_of(harness: Harness) -> None:
    job = print_job(harness)
    harness.fault("nexudus", "POST coworkerproducts", "drop_after")
    harness.advance(minutes=1)
    harness.sync()
    harness.reconfigure({"charge_product_id = 51": "charge_product_id = 61"})
    harness.advance(minutes=20)
    synced(harness)
    assert harness.events()[job] == ["sale 40 confirmed"]
    assert len(harness.sales()) == 1, "the look-up must ask for the product of the line"
    second = print_job(harness)
    synced(harness)
    assert harness.events()[second] == ["sale 40 confirmed"]
    assert sorted(sale["ProductId"] for sale in harness.sales()) == [51, 61], "what is new is made of the new product"


def test_another_product_in_the_middle_of_a_month_stops_nothing(harness: Harness) -> None:
    print_job(harness)
    synced(harness)
    harness.advance(minutes=30)
    harness.reconfigure({"charge_product_id = 51": "charge_product_id = 61"})
    print_job(harness)
    synced(harness)
    assert len(harness.sales()) == 2
    assert harness.reconcile().metadata["reconciliation"]["unexplained_cents"] == 0


def test_a_sale_without_an_answer_is_settled_although_the_model_has_no_money_any_more(harness: Harness) -> None:
    job = print_job(harness)
    harness.fault("nexudus", "POST coworkerproducts", "drop_before")
    harness.advance(minutes=1)
    harness.sync()
    harness.reconfigure({
        'pricing_model = "credits_and_pay_per_print"': 'pricing_model = "credits_only"', "charge_product_id = 51": "",
    })  # fmt: skip
    harness.advance(minutes=20)
    synced(harness)
    synced(harness)
    assert harness.events()[job] == ["sale 40 confirmed"], "a job is paid by the rules under which it was printed"


# --- the name of a site ----------------------------------------------------------------------------------------------


def test_two_sites_never_share_a_code() -> None:
    assert site_code("aldgate") == site_code("boston_1"), "the two of the issue"
    aldgate = Record("aldgate", "aldgate", site_code("aldgate"), 0, 1, "a", "a")
    boston = free_code({"aldgate": aldgate}, "boston_1")
    assert boston != aldgate.code
    assert free_code({"aldgate": aldgate}, "aldgate") == aldgate.code, "a site keeps the code of its references"


def test_every_site_gets_a_code_of_its_own_whatever_they_are_called() -> None:
    known: dict[str, Record] = {}
    for number in range(3000):
        key = f"site{number}"
        known[key] = Record(key, key, free_code(known, key), 0, 1, key, key)
    assert len({each.code for each in known.values()}) == 3000


def test_a_site_that_is_renamed_in_the_file_is_recognised_and_charges_nothing_again(harness: Harness) -> None:
    first = print_job(harness)
    synced(harness)
    harness.reconfigure({"[sites.london": "[sites.city"})
    harness.ready["sites"]["city"] = harness.ready["sites"]["london"]
    outcome = harness.sync("city")
    assert "printbridge site rename london city" in outcome.failures["print_users"][1]
    assert len(harness.sales()) == 1
    rename(harness.sites, "london", "city", "a test")
    second = print_job(harness)
    harness.advance(minutes=1)
    done = harness.sync("city")
    assert done.ok, done.failures
    with harness.sites.store.connect() as con:
        lines = lines_of_site(con, "london")
    assert set(lines["job_id"]) == {first, second}, "its charges stay under the key that it always had"
    assert len(harness.sales()) == 2


def test_two_sites_on_one_database_are_refused(harness: Harness) -> None:
    text = harness.config.read_text("utf-8")
    section = text[text.index("[sites.london]") :]
    harness.config.write_text(text + section.replace("sites.london", "sites.leeds"), "utf-8")
    harness.reconfigure()
    print_job(harness)
    harness.advance(minutes=1)
    assert harness.sync("london").ok
    failures = harness.sync("leeds").failures
    assert "have the same print server" in failures["print_users"][1]
    assert len(harness.sales()) == 1


# --- numbers and clocks ----------------------------------------------------------------------------------------------


def test_a_sale_made_by_hand_with_a_reference_of_no_job_stops_nobody(harness: Harness) -> None:
    first = print_job(harness)
    synced(harness)
    ref = harness.sales()[0]["PurchaseOrder"]
    forged = {"CoworkerId": 7, "BusinessId": LONDON, "ProductId": 51, "Quantity": 5}
    other = reference("london", "999999", "sale", 0)
    assert other[:6] == ref[:6]
    harness.add("coworkerproducts", {**forged, "PurchaseOrder": other, "SaleDate": "2026-11-02T09:00:00Z"})
    second = print_job(harness)
    synced(harness)
    assert harness.events()[first] == harness.events()[second] == ["sale 40 confirmed"]
    harness.advance(minutes=20)  # every charge is settled, so a difference would stop the site
    assert harness.reconcile().metadata["reconciliation"]["unexplained_cents"] == 5, "its day is red"
    third = print_job(harness)
    synced(harness)
    assert harness.events()[third] == ["sale 40 confirmed"]


def test_a_sale_of_a_job_of_another_day_that_the_ledger_lacks_stops_the_charges(harness: Harness) -> None:
    print_job(harness)
    synced(harness)
    guest = harness.print_job("staff", 44)["job_id"]
    harness.advance(days=1)
    synced(harness)
    forged = {"CoworkerId": 7, "BusinessId": LONDON, "ProductId": 51, "Quantity": 5}
    ref = reference("london", str(guest), "sale", 0)
    harness.add("coworkerproducts", {**forged, "PurchaseOrder": ref, "SaleDate": "2026-11-03T09:00:00Z"})
    assert harness.reconcile("2026-11-03").metadata["reconciliation"]["unexplained_cents"] == 5
    with harness.sites.store.connect() as con:
        assert "5 cents of 2026-11-03" in stopped(con, "london")["charges"], "somebody else may charge what we charge"


def test_a_job_that_changes_forty_times_harms_only_itself(harness: Harness) -> None:
    job = print_job(harness, 1000)
    synced(harness)
    for _ in range(40):
        harness.refund(int(job), amount=1)
        harness.advance(minutes=1)
        assert harness.sync(only=CHARGES).ok
    other = print_job(harness, 10)
    synced(harness)
    assert harness.events()[other] == ["sale 10 confirmed"]
    assert len([sale for sale in harness.sales() if sale["Quantity"] != 10]) <= 1
    assert any(event.endswith("held") for event in harness.events()[job]), "a person is told of it"
    with harness.sites.store.connect() as con:
        (line,) = lines_in(con, "london", "held").to_dicts()
    assert "invoice that by hand and confirm this line, or void it" in line["reason"]
    decide(harness.sites, [line["ref"]], "confirmed", reason="on invoice 12", operator="test")
    synced(harness)
    harness.advance(minutes=20)
    later = 40 - 35  # the changes behind the last line that fits
    assert harness.reconcile().metadata["reconciliation"]["unexplained_cents"] == later, "they are not followed"
    accept_jobs(harness.sites, [job], reason="a few cents", operator="test")
    harness.resume("london", "charges")
    synced(harness)
    assert harness.reconcile().metadata["reconciliation"]["unexplained_cents"] == 0
    assert causes(harness.sites, []) == []


# --- a second installation -------------------------------------------------------------------------------------------


def test_a_second_installation_on_the_same_account_is_found_before_it_sends_anything(harness: Harness) -> None:
    print_job(harness)
    synced(harness)
    print_job(harness)
    harness.sites.close()
    copy = harness.state_folder.path.with_name("copy.duckdb")
    shutil.copy(harness.sites.store.path, copy)
    synced(harness)  # the first installation charges the second job
    assert len(harness.sales()) == 2
    harness.sites.close()
    shutil.copy(copy, harness.sites.store.path)  # ... and a second one comes to it as well
    print_job(harness)
    harness.advance(minutes=1)
    failures = harness.sync().failures
    assert "another installation of printbridge" in failures["nexudus_print_charges"][1]
    assert len(harness.sales()) == 2, "nothing may be sent before a person looked at it"


def test_numbers_that_begin_anew_get_names_of_their_own(harness: Harness) -> None:
    renumber(harness.sites["london"], "a test")
    with harness.sites.store.connect() as con:
        assert records(con)["london"].epoch == 1
    job = print_job(harness)
    synced(harness)
    assert harness.events()[job] == ["sale 40 confirmed"], "a number that was never used stays as it is"
