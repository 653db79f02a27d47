"""What becomes of a sale when Nexudus is not as it was when the charge was decided.

What belongs here: sales that somebody else changed, removed or named in between, and refunds of them. What does not:
credits (`test_credits.py`), interrupted runs (`tests/campaign/test_rules.py`) and the ordinary course
(`tests/steps/test_sync.py`). Everything runs on real servers; the oracle is what they hold, and the ledger's words.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import polars as pl
import pytest

from pipeline.domain.money.references import reference
from pipeline.effects.effect import CONNECTIONS
from pipeline.effects.sales import ATTEMPTS, CHUNK, MANY
from pipeline.errors import MissingError
from pipeline.operations.held import decide
from pipeline.store import memory
from pipeline.store.lines import lines_of_site
from tests.effects.charging import (
    DECIDED,
    SALE,
    charge,
    charging,
    decided,
    line,
    printed,
    refused,
    send,
    sending,
)
from tests.harness import Harness, running
from tests.stores import recalled
from tests.worlds import PRODUCTS, customer, mail, world


@pytest.fixture
def harness(folder: Path) -> Generator[Harness, None, None]:
    with charging(folder) as begun:
        yield begun


def test_a_sale_of_another_amount_than_the_job_is_held(harness: Harness) -> None:
    job = decided(harness, 101, 30)
    sending(harness, "GET products", lambda: harness.edit("products", PRODUCTS[1], Price=0.02))
    held = line(harness, job)
    assert held["state"] == "held"
    assert f"made sale {held['remote_id']} of 60 cents, not 30" in str(held["detail"])
    harness.edit("products", PRODUCTS[1], Price=0.01)
    assert charge(harness).ok
    assert len(harness.sales()) == 1, "what is held is not sent again"


@pytest.mark.parametrize(
    ("edit", "said"), [({"Price": 0.02}, "is priced 0.02000, not 0.01"), ({"Archived": True}, "is archived")]
)
def test_a_product_that_does_not_cost_a_cent_stops_the_sales(
    harness: Harness, edit: dict[str, object], said: str
) -> None:
    decided(harness, 101, 30)
    harness.edit("products", PRODUCTS[1], **edit)
    kind, text = send(harness).failures["nexudus_print_charges"]
    assert kind == "ConfigError"
    assert said in text
    assert harness.sales() == []


def test_an_error_that_ends_the_sending_leaves_every_sale_to_be_sent_once(harness: Harness) -> None:
    one = {"site": "london", "username": mail(101), "printer": "p1", "pages": 1, "color_pages": 0, "cost": 3}
    number = 2 * CHUNK + 10
    harness.control.post("print", json=[one] * number).raise_for_status()
    harness.advance(minutes=31)
    assert harness.sync(only=DECIDED).ok
    harness.fault("nexudus", "POST coworkerproducts", "throttle", style="429_retry_after", seconds=3600)
    kind, text = send(harness).failures["nexudus_print_charges"]
    assert (kind, "HTTP 429" in text) == ("TransientError", True), text
    with harness.sites.store.connect() as con:
        lines = lines_of_site(con, "london")
    sold = len(harness.sales())
    assert lines.filter(state="confirmed").height == sold
    assert lines.filter(state="priced").height == number - sold
    left = lines.filter(pl.col("detail").str.starts_with("not sent any more"))
    assert left.height >= CHUNK - 2 * CONNECTIONS, "it went on sending although Nexudus asked for a pause"
    harness.heal()
    harness.sites.close()  # the pause is the client's
    assert send(harness).ok
    assert len(harness.sales()) == number


def test_a_pause_that_nexudus_asks_for_while_a_sale_is_undone_ends_the_run_and_the_next_one_undoes_it(
    harness: Harness,
) -> None:
    job = decided(harness, 101, 30)
    assert send(harness).ok
    harness.refund(job)
    assert harness.sync(only=DECIDED).ok
    harness.fault("nexudus", "DELETE coworkerproducts", "throttle", style="429_retry_after", seconds=3600)
    kind, text = send(harness).failures["nexudus_print_charges"]
    assert (kind, "DELETE billing/coworkerproducts" in text) == ("TransientError", True), text
    assert (line(harness, job, "undo_sale")["state"], len(harness.sales())) == ("priced", 1)
    harness.sites.close()  # the pause is the client's
    assert send(harness).ok
    assert (line(harness, job, "undo_sale")["state"], harness.sales()) == ("confirmed", [])


def test_a_sale_that_is_never_answered_and_never_seen_is_sent_five_times(harness: Harness) -> None:
    """What Nexudus refused to look at, because it asked for a pause, does not count."""
    job = decided(harness, 101, 30)
    for _ in range(6):
        harness.fault("nexudus", SALE, "throttle", style="429_retry_after", seconds=3600)
        assert not send(harness).ok
        harness.sites.close()  # the pause is the client's
    harness.forget_calls()
    harness.fault("nexudus", SALE, "drop_before", times=99)
    for sent in range(1, ATTEMPTS + 1):
        assert send(harness).ok
        assert (line(harness, job)["state"], harness.calls()["nexudus"][SALE]) == ("unknown", sent)
        harness.advance(minutes=16)
    assert send(harness).ok
    held = line(harness, job)
    assert (held["state"], harness.calls()["nexudus"][SALE]) == ("held", ATTEMPTS)
    assert str(held["detail"]).startswith("sent 5 times, never answered, never seen. What to do: look for")


def test_a_list_that_lacks_a_known_sale_stops_the_look_up_and_a_deleted_sale_does_not(harness: Harness) -> None:
    printed(harness, 101, 30)
    harness.advance(minutes=20)
    printed(harness, 102, 40)
    harness.advance(minutes=11)
    assert charge(harness).ok
    harness.advance(minutes=21)
    harness.switch(list_lag_seconds=1800)
    stopped = charge(harness)
    kind, text = stopped.failures["nexudus_print_charges"]
    sale = harness.sales()[0]["Id"]
    assert kind == "TransientError"
    assert f"lacks sale {sale} " in text
    assert len(harness.sales()) == 1, "a list that is not up to date proves nothing, so nothing may be sent"
    harness.delete("coworkerproducts", sale)
    assert charge(harness).ok, "Nexudus itself says that the sale is gone"
    assert [each["Quantity"] for each in harness.sales()] == [40]


def test_a_sale_of_a_printed_job_that_the_ledger_never_sent_stops_charges(harness: Harness) -> None:
    printed(harness, 103, 20)
    harness.advance(minutes=31)
    assert charge(harness).ok
    job = decided(harness, 101, 30)
    young = printed(harness, 102, 5)
    assert harness.sync(only=DECIDED).ok
    foreign = reference("london", str(young), "sale", 0)
    harness.add("coworkerproducts", {
        "CoworkerId": 102, "BusinessId": 1, "ProductId": PRODUCTS[1], "Quantity": 5, "PurchaseOrder": foreign,
    })  # fmt: skip
    kind, text = send(harness).failures["nexudus_print_charges"]
    assert kind == "UnsafeError"
    assert f"was made under {foreign}, which its ledger never sent" in text
    assert sorted(sale["Quantity"] for sale in harness.sales()) == [5, 20]
    with pytest.raises(MissingError, match=f"no line {reference('london', str(job), 'sale', 0)}"):
        line(harness, job)


def test_a_sale_of_a_waiting_line_that_the_ledger_never_sent_is_taken_over_and_stops_charges(harness: Harness) -> None:
    """Another installation at work made it while this one could not send: neither may go on before a person looks."""
    printed(harness, 103, 20)
    harness.advance(minutes=31)
    assert charge(harness).ok
    first, second = printed(harness, 101, 30), decided(harness, 102, 40)
    harness.edit("products", PRODUCTS[1], Price=0.02)
    assert not send(harness).ok, "the lines are entered, and nothing is sent"
    harness.edit("products", PRODUCTS[1], Price=0.01)
    foreign = reference("london", str(first), "sale", 0)
    harness.add("coworkerproducts", {
        "CoworkerId": 101, "BusinessId": 1, "ProductId": PRODUCTS[1], "Quantity": 30, "PurchaseOrder": foreign,
    })  # fmt: skip
    kind, text = charge(harness).failures["nexudus_print_charges"]
    assert kind == "UnsafeError"
    assert "is stopped for charges: Nexudus has 1 sale that this ledger never sent, first sale" in text
    assert f"({foreign})" in text
    assert (line(harness, first)["state"], line(harness, second)["state"]) == ("confirmed", "priced")
    assert sorted(sale["Quantity"] for sale in harness.sales()) == [20, 30], "nothing is sent before a person looked"
    assert "is stopped for charges" in str(charge(harness).failures), "it stays stopped"
    harness.resume("london", "charges")
    assert charge(harness).ok
    assert sorted(sale["Quantity"] for sale in harness.sales()) == [20, 30, 40]


def test_a_sale_that_staff_moved_to_another_product_does_not_stop_the_look_up(harness: Harness) -> None:
    """The list of our product lacks it, and rightly so: that proves nothing against the list."""
    printed(harness, 101, 30)
    harness.advance(minutes=20)
    printed(harness, 102, 40)
    harness.advance(minutes=11)
    assert charge(harness).ok
    harness.edit("coworkerproducts", harness.sales()[0]["Id"], ProductId=PRODUCTS[2])
    harness.advance(minutes=21)
    assert charge(harness).ok
    assert sorted(sale["Quantity"] for sale in harness.sales()) == [30, 40]


def test_many_customers_without_an_answer_are_looked_up_with_one_question(folder: Path) -> None:
    """Each has a sale that Nexudus made; none is made twice, and Nexudus is not asked once for each of them."""
    numbers = range(101, 101 + MANY + 1)
    with running(folder, world([customer(number, PaperCutPayAsYouPrint=True) for number in numbers])) as harness:
        assert harness.sync().ok
        for number in numbers:
            printed(harness, number, 7)
        harness.advance(minutes=31)
        assert harness.sync(only=DECIDED).ok
        harness.fault("nexudus", SALE, "drop_after", times=len(numbers))
        send(harness)
        assert set(str(harness.events()).split("'")) & {"sale 7 unknown", "sale 7 confirmed"} == {"sale 7 unknown"}
        harness.advance(minutes=16)
        harness.forget_calls()
        assert charge(harness).ok
        assert set(map(str, harness.events().values())) == {"['sale 7 confirmed']"}
        assert len(harness.sales()) == len(numbers), "what was made is not made again"
        assert harness.calls()["nexudus"]["GET coworkerproducts"] < 10


def test_a_currency_that_is_no_code_is_not_remembered_and_stops_no_charge(harness: Harness) -> None:
    harness.edit("products", PRODUCTS[1], CurrencyCode="pounds")
    decided(harness, 101, 30)
    assert send(harness).ok
    assert [sale["Quantity"] for sale in harness.sales()] == [30]
    assert recalled(harness.sites.store, "london", memory.CURRENCY) is None, "the report names it beside every amount"
    harness.edit("products", PRODUCTS[1], CurrencyCode="GBP")
    decided(harness, 102, 40)
    assert send(harness).ok
    assert recalled(harness.sites.store, "london", memory.CURRENCY) == "GBP"


def test_a_refund_of_a_refused_sale_that_a_person_then_waives_has_nothing_to_undo(harness: Harness) -> None:
    job = decided(harness, 101, 30)
    refused(harness, 101)
    harness.refund(job)
    harness.advance(minutes=1)
    assert charge(harness).ok
    assert line(harness, job, "undo_sale")["state"] == "priced", "whether there is anything to undo, a person says"
    decide(harness.sites, [reference("london", str(job), "sale", 0)], "void", reason="never made", operator="test")
    harness.forget_calls()
    assert charge(harness).ok
    undone = line(harness, job, "undo_sale")
    assert (undone["state"], undone["detail"]) == ("confirmed", "nothing had been charged")
    assert harness.writes() == {}


@pytest.mark.parametrize("fate", ["deleted", "unclear delete", "unclear sale", "voided"])
def test_a_refund_undoes_what_there_is_to_undo(harness: Harness, fate: str) -> None:
    job = decided(harness, 101, 30)
    if fate == "unclear sale":
        harness.fault("nexudus", SALE, "drop_before")
    if fate == "voided":
        refused(harness, 101)
        decide(harness.sites, [reference("london", str(job), "sale", 0)], "void", reason="seen", operator="test")
    send(harness)
    if fate == "deleted":
        harness.delete("coworkerproducts", harness.sales()[0]["Id"])
    if fate == "unclear delete":
        harness.fault("nexudus", "DELETE coworkerproducts", "drop_before")
    harness.refund(job)
    harness.advance(minutes=1)
    charge(harness)
    before = len(harness.sales())
    for _ in range(3):
        harness.advance(minutes=16)
        assert charge(harness).ok
    assert harness.sales() == [], "a refunded job must cost nothing"
    states = {each.split()[-1] for lines in harness.events().values() for each in lines}
    assert states <= {"confirmed", "void"}, f"{before} sales were left, and lines are open: {harness.events()}"


def test_a_refund_of_a_charge_that_a_person_made_waits_for_that_person(harness: Harness) -> None:
    job = decided(harness, 101, 30)
    refused(harness, 101)
    decide(harness.sites, [reference("london", str(job), "sale", 0)], "confirmed", reason="cash", operator="test")
    harness.refund(job)
    harness.advance(minutes=1)
    assert charge(harness).ok
    assert line(harness, job, "undo_sale")["state"] == "held", "only the person knows how the money came"
    back = reference("london", str(job), "undo_sale", 0)
    decide(harness.sites, [back], "confirmed", reason="given back", operator="test")
    harness.advance(minutes=16)
    assert charge(harness).ok
    assert line(harness, job, "undo_sale")["state"] == "confirmed"
    assert harness.sales() == [], "a refunded job must cost nothing"
