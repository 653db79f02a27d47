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
from tests.harness import PRODUCTS, Harness, credit, customer, running, world
from tests.stores import transaction

PAYS = {"PaperCutPayAsYouPrint": True}


def mail(number: int) -> str:
    return f"c{number}@example.com"


def given() -> dict[str, object]:
    people = [customer(101, **PAYS), customer(102, **PAYS), customer(103, PaperCutFreePrinting=True), customer(201)]
    return world(people, [credit(501, 201, 100)])


def charged(bridge: Harness, *numbers: int) -> list[int]:
    """A job of 30 of each, charged."""
    jobs = [bridge.print_job(mail(number), 30)["job_id"] for number in numbers]
    bridge.advance(minutes=31)
    assert bridge.sync().ok
    return jobs


def lost(bridge: Harness) -> None:
    bridge.sites.store.path.unlink()
    bridge.advance(minutes=16)


def recovered(bridge: Harness) -> list[str]:
    return recover_site(bridge.sites["london"], "test")


def ours(bridge: Harness) -> dict[str, str]:
    with bridge.sites.store.connect() as con:
        return dict(ownership.owned(con, "london").select("username", "access").iter_rows())


def sold(bridge: Harness, job: int, **fields: object) -> None:
    """A sale that Nexudus shows under the reference of a job."""
    bridge.add("coworkerproducts", {
        "CoworkerId": 101, "BusinessId": 1, "ProductId": PRODUCTS[1], "Quantity": 30, "TotalPrice": 0.3,
        "PurchaseOrder": reference("london", str(job), "sale", 0), **fields,
    })  # fmt: skip


@pytest.fixture
def bridge(folder: Path) -> Generator[Harness, None, None]:
    with running(folder, given()) as harness:
        assert harness.sync().ok
        yield harness


@pytest.mark.parametrize("source", ["database", "print_log"])
def test_sales_and_users_are_ours_again_and_credits_wait_for_a_person(folder: Path, source: str) -> None:
    with running(folder, given(), jobs=source) as bridge:
        assert bridge.sync().ok
        charged(bridge, 101, 201)
        before, sales = ours(bridge), len(bridge.sales())
        lost(bridge)
        bridge.forget_calls()
        said = " ".join(recovered(bridge))
        assert bridge.writes() == {}, "recovery only reads the services"
        assert ours(bridge) == before == {mail(101): "pay", mail(102): "pay", mail(103): "free", mail(201): "credits"}
        assert "entered as confirmed now: 1." in said
        assert "Not proved, because printing credits may have paid: 1 charge, now held." in said
        assert "charges is stopped" not in said
        stopped = bridge.sync()
        assert "Site london is stopped for charges: recovered:" in str(stopped.failures)
        assert len(bridge.sales()) == sales, "what was charged is not charged again"
        assert "entered as confirmed now: 0." in " ".join(recovered(bridge))


def test_a_user_whose_mark_proves_nothing_is_not_taken_over(bridge: Harness) -> None:
    bridge.switch(set_internal="honour")
    bridge.papercut("setUserProperty", mail(101), "internal", "FALSE")
    bridge.papercut("setUserProperty", mail(102), "email", "other@example.com")
    bridge.delete("coworkers", 103)
    lost(bridge)
    said = "\n".join(recovered(bridge))
    assert ours(bridge) == {mail(201): "credits"}
    assert f"user {mail(101)} with the mark of customer 101: it is not an internal user" in said
    assert f"user {mail(102)} with the mark of customer 102: its e-mail in PaperCut is not that" in said
    assert f"user {mail(103)} with the mark of customer 103: there is no such customer" in said


def test_two_sales_with_one_reference_are_left_to_a_person(bridge: Harness) -> None:
    (job,) = charged(bridge, 101)
    sold(bridge, job)
    lost(bridge)
    with pytest.raises(UnsafeError, match="more than one sale with the reference"):
        recovered(bridge)
    assert ours(bridge) == {}, "nothing is entered"


def test_a_sale_that_is_gone_or_there_after_all_is_entered_as_it_is(bridge: Harness) -> None:
    first, second = charged(bridge, 101, 102)
    kept, deleted = (next(each["Id"] for each in bridge.sales() if each["CoworkerId"] == n) for n in (101, 102))
    bridge.delete("coworkerproducts", deleted)
    third = bridge.print_job(mail(101), 30)["job_id"]
    bridge.advance(minutes=31)
    bridge.delete("coworkers", 101)
    bridge.sync(only=("print_jobs", "print_charges", "nexudus_print_charges"))
    assert bridge.events()[str(third)] == ["sale 30 held"], "Nexudus refuses a sale to nobody"
    bridge.add("coworkers", customer(101, **PAYS))
    sold(bridge, third)
    sold(bridge, 9_999, SaleDate=None)
    bridge.refund(second)
    bridge.advance(minutes=16)
    recovered(bridge)
    events = bridge.events()
    assert events[str(third)] == ["sale 30 confirmed"], "it is there under its reference"
    assert events["9999"] == ["sale 30 confirmed"], "a job that the log lacks is entered as Nexudus has it"
    assert events[str(first)] == ["sale 30 confirmed"]
    assert events[str(second)][0].startswith("sale 30 confirmed")
    assert kept in {each["Id"] for each in bridge.sales()}


def test_a_restored_backup_goes_on_only_after_recovery(bridge: Harness) -> None:
    store, clock = bridge.sites.store, bridge.sites.clock
    kept = backup.back_up(store, bridge.state_folder.backups, clock())
    charged(bridge, 101)
    backup.restore(store, kept.folder, ["london"], clock())
    with store.connect() as con, pytest.raises(UnsafeError, match="cannot go on yet: a backup was restored"):
        stops.refuse_if_unrecovered(con, "london")
    assert "the backup" in str(bridge.sync().failures)
    recovered(bridge)
    with store.connect() as con:
        stops.refuse_if_unrecovered(con, "london")
    assert bridge.sync().ok
    assert [each["Quantity"] for each in bridge.sales()] == [30], "charged once, before the backup came back"


def test_a_stop_for_another_reason_outlives_a_restored_backup_and_its_recovery(bridge: Harness) -> None:
    store = bridge.sites.store
    with transaction(store) as con:
        stops.record(con, "london", "charges", state="stopped", reason="7 cents of a day", at=bridge.sites.clock())
    made = backup.back_up(store, bridge.state_folder.backups, bridge.sites.clock())
    backup.restore(store, made.folder, ["london"], bridge.sites.clock())
    bridge.advance(minutes=1)
    recovered(bridge)
    with store.connect() as con:
        assert stops.states(con, "london")["charges"] == ("stopped", "7 cents of a day")


def test_a_site_without_charges_recovers_its_users(folder: Path) -> None:
    own = {"pricing_model": "free_unlimited", "charge_product_id": None}
    with running(folder, given(), **own) as bridge:
        assert bridge.sync().ok
        lost(bridge)
        assert "Nexudus holds 0 sales with our references" in recovered(bridge)[0]
        assert ours(bridge) == {mail(103): "free"}
