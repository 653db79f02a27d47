"""Recovery against real servers: what of a lost warehouse they prove, and what is left to a person.

What belongs here: reading the evidence and entering it. What does not: the lines that follow from it
(`test_recovery.py`), the command (`test_cli.py`), and backups in the middle of a story (`test_safety_stories.py`).
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from pipeline.domain.money.references import reference
from pipeline.errors import UnsafeError
from pipeline.operations.recover import recover_site
from pipeline.store import backup, ownership, stops
from tests.harness import Harness, running
from tests.stores import transaction
from tests.worlds import PRODUCTS, credit, customer, world

PAYS = {"PaperCutPayAsYouPrint": True}


def mail(number: int) -> str:
    return f"c{number}@example.com"


def given() -> dict[str, object]:
    people = [customer(101, **PAYS), customer(102, **PAYS), customer(103, PaperCutFreePrinting=True), customer(201)]
    return world(people, [credit(501, 201, 100)])


def charged(harness: Harness, *numbers: int) -> list[int]:
    """A job of 30 of each, charged."""
    jobs = [harness.print_job(mail(number), 30)["job_id"] for number in numbers]
    harness.advance(minutes=31)
    assert harness.sync().ok
    return jobs


def lost(harness: Harness) -> None:
    harness.sites.store.path.unlink()
    harness.advance(minutes=16)


def recovered(harness: Harness) -> list[str]:
    return recover_site(harness.sites["london"], "test")


def ours(harness: Harness) -> dict[str, str]:
    with harness.sites.store.connect() as con:
        return dict(ownership.owned(con, "london").select("username", "access").iter_rows())


def sold(harness: Harness, job: int, **fields: object) -> None:
    """A sale that Nexudus shows under the reference of a job."""
    harness.add("coworkerproducts", {
        "CoworkerId": 101, "BusinessId": 1, "ProductId": PRODUCTS[1], "Quantity": 30, "TotalPrice": 0.3,
        "PurchaseOrder": reference("london", str(job), "sale", 0), **fields,
    })  # fmt: skip


@pytest.fixture
def harness(folder: Path) -> Generator[Harness, None, None]:
    with running(folder, given()) as harness:
        assert harness.sync().ok
        yield harness


@pytest.mark.parametrize("source", ["database", "print_log"])
def test_sales_and_users_are_ours_again_and_credits_wait_for_a_person(folder: Path, source: str) -> None:
    with running(folder, given(), jobs=source) as harness:
        assert harness.sync().ok
        charged(harness, 101, 201)
        before, sales = ours(harness), len(harness.sales())
        lost(harness)
        harness.forget_calls()
        said = " ".join(recovered(harness))
        assert harness.writes() == {}, "recovery only reads the services"
        assert ours(harness) == before == {mail(101): "pay", mail(102): "pay", mail(103): "free", mail(201): "credits"}
        assert "entered as confirmed now: 1." in said
        assert "Not proved, because printing credits may have paid: 1 charge, now held." in said
        assert "charges is stopped" not in said
        stopped = harness.sync()
        assert "Site london is stopped for charges: recovered:" in str(stopped.failures)
        assert len(harness.sales()) == sales, "what was charged is not charged again"
        assert "entered as confirmed now: 0." in " ".join(recovered(harness))


def test_a_user_whose_mark_proves_nothing_is_not_taken_over(harness: Harness) -> None:
    harness.switch(set_internal="honour")
    harness.papercut("setUserProperty", mail(101), "internal", "FALSE")
    harness.papercut("setUserProperty", mail(102), "email", "other@example.com")
    harness.delete("coworkers", 103)
    lost(harness)
    said = "\n".join(recovered(harness))
    assert ours(harness) == {mail(201): "credits"}
    assert f"user {mail(101)} with the mark of customer 101: it is not an internal user" in said
    assert f"user {mail(102)} with the mark of customer 102: its e-mail in PaperCut is not that" in said
    assert f"user {mail(103)} with the mark of customer 103: there is no such customer" in said


def test_two_sales_with_one_reference_are_left_to_a_person(harness: Harness) -> None:
    (job,) = charged(harness, 101)
    sold(harness, job)
    lost(harness)
    with pytest.raises(UnsafeError, match="more than one sale with the reference"):
        recovered(harness)
    assert ours(harness) == {}, "nothing is entered"


def test_a_sale_that_is_gone_or_there_after_all_is_entered_as_it_is(harness: Harness) -> None:
    first, second = charged(harness, 101, 102)
    kept, deleted = (next(each["Id"] for each in harness.sales() if each["CoworkerId"] == n) for n in (101, 102))
    harness.delete("coworkerproducts", deleted)
    third = harness.print_job(mail(101), 30)["job_id"]
    harness.advance(minutes=31)
    harness.delete("coworkers", 101)
    harness.sync(only=("print_jobs", "print_charges", "nexudus_print_charges"))
    assert harness.events()[str(third)] == ["sale 30 held"], "Nexudus refuses a sale to nobody"
    harness.add("coworkers", customer(101, **PAYS))
    sold(harness, third)
    sold(harness, 9_999, SaleDate=None)
    harness.refund(second)
    harness.advance(minutes=16)
    recovered(harness)
    events = harness.events()
    assert events[str(third)] == ["sale 30 confirmed"], "it is there under its reference"
    assert events["9999"] == ["sale 30 confirmed"], "a job that the log lacks is entered as Nexudus has it"
    assert events[str(first)] == ["sale 30 confirmed"]
    assert events[str(second)][0].startswith("sale 30 confirmed")
    assert kept in {each["Id"] for each in harness.sales()}


def test_a_restored_backup_goes_on_only_after_recovery(harness: Harness) -> None:
    store, clock = harness.sites.store, harness.sites.clock
    kept = backup.back_up(store, harness.state_folder.backups, clock())
    charged(harness, 101)
    backup.restore(store, kept.folder, ["london"], clock())
    with store.connect() as con, pytest.raises(UnsafeError, match="cannot go on yet: a backup was restored"):
        stops.refuse_if_unrecovered(con, "london")
    assert "the backup" in str(harness.sync().failures)
    recovered(harness)
    with store.connect() as con:
        stops.refuse_if_unrecovered(con, "london")
    assert harness.sync().ok
    assert [each["Quantity"] for each in harness.sales()] == [30], "charged once, before the backup came back"


def test_a_stop_for_another_reason_outlives_a_restored_backup_and_its_recovery(harness: Harness) -> None:
    store = harness.sites.store
    with transaction(store) as con:
        stops.record(con, "london", "charges", state="stopped", reason="7 cents of a day", at=harness.sites.clock())
    made = backup.back_up(store, harness.state_folder.backups, harness.sites.clock())
    backup.restore(store, made.folder, ["london"], harness.sites.clock())
    harness.advance(minutes=1)
    recovered(harness)
    with store.connect() as con:
        assert stops.states(con, "london")["charges"] == ("stopped", "7 cents of a day")


def test_a_site_without_charges_recovers_its_users(folder: Path) -> None:
    own = {"pricing_model": "free_unlimited", "charge_product_id": None}
    with running(folder, given(), **own) as harness:
        assert harness.sync().ok
        lost(harness)
        assert "Nexudus holds 0 sales with our references" in recovered(harness)[0]
        assert ours(harness) == {mail(103): "free"}
