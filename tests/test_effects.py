"""What becomes of a charge when Nexudus is not as it was when the charge was decided.

What belongs here: sales and credits that somebody else changed, removed or named in between, credits that cannot be
lowered, and decisions of a person on held lines. What does not: interrupted runs (`test_safety_rules.py`) and the
ordinary course (`test_sync.py`). Everything runs on real servers; the oracle is what they hold, and the ledger's words.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path

import polars as pl
import pytest

from assets.load.sales import ATTEMPTS, CHUNK
from pipeline import ledger
from pipeline.domain.references import reference
from pipeline.errors import ConfigError, MissingError, UnsafeError
from pipeline.held import decide
from pipeline.outcomes import Outcome
from pipeline.resources import CONNECTIONS
from tests.campaign.runs import CHARGES
from tests.harness import PRODUCTS, Harness, credit, customer, during, running, world

DECIDED, SENT = CHARGES[:-1], CHARGES[-1:]
PAYERS, HOLDERS = (101, 102, 103), (201, 202, 203)
SALE, CREDIT = "POST coworkerproducts", "coworkerextraservices"


def credit_of(holder: int) -> int:
    return holder + 300


def mail(number: int) -> str:
    return f"c{number}@example.com"


def people(**switches: object) -> dict[str, object]:
    customers = [customer(number, PaperCutPayAsYouPrint=True) for number in PAYERS]
    customers += [customer(number) for number in HOLDERS]
    return world(customers, [credit(credit_of(number), number, 100) for number in HOLDERS], **switches)


@pytest.fixture
def bridge(folder: Path) -> Generator[Harness, None, None]:
    with running(folder, people()) as harness:
        assert harness.sync().ok
        yield harness


def printed(bridge: Harness, number: int, cost: int) -> int:
    job = bridge.print_job(mail(number), cost)
    assert job["allowed"], f"PaperCut refused the job of customer {number}"
    return job["job_id"]


def decided(bridge: Harness, number: int, cost: int) -> int:
    """A job that is priced, and not yet sent."""
    job = printed(bridge, number, cost)
    bridge.advance(minutes=31)
    assert bridge.sync(only=DECIDED).ok
    return job


def send(bridge: Harness) -> Outcome:
    return bridge.sync(only=SENT)


def charge(bridge: Harness) -> Outcome:
    return bridge.sync(only=CHARGES)


def line(bridge: Harness, job: int, kind: str = "sale", seq: int = 0) -> dict[str, object]:
    with bridge.bridge.warehouse.connect() as con:
        return ledger.line(con, reference("london", str(job), kind, seq))


def refused(bridge: Harness, number: int) -> None:
    """Send while Nexudus does not have the customer, who is back afterwards."""
    bridge.delete("coworkers", number)
    assert send(bridge).ok
    bridge.add("coworkers", customer(number, PaperCutPayAsYouPrint=True))


def sending(bridge: Harness, call: str, change: Callable[[], None]) -> Outcome:
    """Send, and change something while the answer to a call is on its way."""
    return during(bridge, "nexudus", call, lambda: send(bridge), change)


# Sales ----------------------------------------------------------------------------------------------------------------


def test_a_sale_of_another_amount_than_the_job_is_held(bridge: Harness) -> None:
    job = decided(bridge, 101, 30)
    sending(bridge, "GET products", lambda: bridge.edit("products", PRODUCTS[1], Price=0.02))
    held = line(bridge, job)
    assert held["state"] == "held"
    assert f"made sale {held['remote_id']} of 60 cents, not 30" in str(held["detail"])
    bridge.edit("products", PRODUCTS[1], Price=0.01)
    assert charge(bridge).ok
    assert len(bridge.sales()) == 1, "what is held is not sent again"


@pytest.mark.parametrize(
    ("edit", "said"), [({"Price": 0.02}, "is priced 0.02000, not 0.01"), ({"Archived": True}, "is archived")]
)
def test_a_product_that_does_not_cost_a_cent_stops_the_sales(
    bridge: Harness, edit: dict[str, object], said: str
) -> None:
    decided(bridge, 101, 30)
    bridge.edit("products", PRODUCTS[1], **edit)
    kind, text = send(bridge).failures["nexudus_print_charges"]
    assert kind == "ConfigError"
    assert said in text
    assert bridge.sales() == []


def test_an_error_that_ends_the_sending_leaves_every_sale_to_be_sent_once(bridge: Harness) -> None:
    one = {"site": "london", "username": mail(101), "printer": "p1", "pages": 1, "color_pages": 0, "cost": 3}
    number = 2 * CHUNK + 10
    bridge.control.post("print", json=[one] * number).raise_for_status()
    bridge.advance(minutes=31)
    assert bridge.sync(only=DECIDED).ok
    bridge.fault("nexudus", "POST coworkerproducts", "throttle", style="429_retry_after", seconds=3600)
    kind, text = send(bridge).failures["nexudus_print_charges"]
    assert (kind, "HTTP 429" in text) == ("TransientError", True), text
    with bridge.bridge.warehouse.connect() as con:
        lines = ledger.lines(con, "london")
    sold = len(bridge.sales())
    assert lines.filter(state="confirmed").height == sold
    assert lines.filter(state="priced").height == number - sold
    left = lines.filter(pl.col("detail").str.starts_with("not sent any more"))
    assert left.height >= CHUNK - 2 * CONNECTIONS, "it went on sending although Nexudus asked for a pause"
    bridge.heal()
    bridge.bridge.close()  # the pause is the client's
    assert send(bridge).ok
    assert len(bridge.sales()) == number


def test_a_pause_that_nexudus_asks_for_while_a_sale_is_undone_ends_the_run_and_the_next_one_undoes_it(
    bridge: Harness,
) -> None:
    job = decided(bridge, 101, 30)
    assert send(bridge).ok
    bridge.refund(job)
    assert bridge.sync(only=DECIDED).ok
    bridge.fault("nexudus", "DELETE coworkerproducts", "throttle", style="429_retry_after", seconds=3600)
    kind, text = send(bridge).failures["nexudus_print_charges"]
    assert (kind, "DELETE billing/coworkerproducts" in text) == ("TransientError", True), text
    assert (line(bridge, job, "undo_sale")["state"], len(bridge.sales())) == ("priced", 1)
    bridge.bridge.close()  # the pause is the client's
    assert send(bridge).ok
    assert (line(bridge, job, "undo_sale")["state"], bridge.sales()) == ("confirmed", [])


def test_a_sale_that_is_never_answered_and_never_seen_is_sent_five_times(bridge: Harness) -> None:
    """What Nexudus refused to look at, because it asked for a pause, does not count."""
    job = decided(bridge, 101, 30)
    for _ in range(6):
        bridge.fault("nexudus", SALE, "throttle", style="429_retry_after", seconds=3600)
        assert not send(bridge).ok
        bridge.bridge.close()  # the pause is the client's
    bridge.forget_calls()
    bridge.fault("nexudus", SALE, "drop_before", times=99)
    for sent in range(1, ATTEMPTS + 1):
        assert send(bridge).ok
        assert (line(bridge, job)["state"], bridge.calls()["nexudus"][SALE]) == ("unknown", sent)
        bridge.advance(minutes=16)
    assert send(bridge).ok
    held = line(bridge, job)
    assert (held["state"], bridge.calls()["nexudus"][SALE]) == ("held", ATTEMPTS)
    assert str(held["detail"]).startswith("sent 5 times, never answered, never seen. What to do: look for")


def test_a_list_that_lacks_a_known_sale_stops_the_look_up_and_a_deleted_sale_does_not(bridge: Harness) -> None:
    printed(bridge, 101, 30)
    bridge.advance(minutes=20)
    printed(bridge, 102, 40)
    bridge.advance(minutes=11)
    assert charge(bridge).ok
    bridge.advance(minutes=21)
    bridge.switch(list_lag_seconds=1800)
    stopped = charge(bridge)
    kind, text = stopped.failures["nexudus_print_charges"]
    sale = bridge.sales()[0]["Id"]
    assert kind == "TransientError"
    assert f"lacks sale {sale} " in text
    assert len(bridge.sales()) == 1, "a list that is not up to date proves nothing, so nothing may be sent"
    bridge.delete("coworkerproducts", sale)
    assert charge(bridge).ok, "Nexudus itself says that the sale is gone"
    assert [each["Quantity"] for each in bridge.sales()] == [40]


def test_a_sale_under_a_reference_of_ours_that_the_ledger_never_sent_stops_charges(bridge: Harness) -> None:
    assert charge(bridge).ok
    job = decided(bridge, 101, 30)
    foreign = reference("london", "99", "sale", 0)
    bridge.add("coworkerproducts", {
        "CoworkerId": 102, "BusinessId": 1, "ProductId": PRODUCTS[1], "Quantity": 5, "PurchaseOrder": foreign,
    })  # fmt: skip
    kind, text = send(bridge).failures["nexudus_print_charges"]
    assert kind == "UnsafeError"
    assert f"was made under {foreign}, which its ledger never sent" in text
    assert len(bridge.sales()) == 1
    with pytest.raises(MissingError, match=f"no line {reference('london', str(job), 'sale', 0)}"):
        line(bridge, job)


@pytest.mark.parametrize("fate", ["deleted", "unclear delete", "unclear sale", "voided", "confirmed by hand"])
def test_a_refund_undoes_what_there_is_to_undo(bridge: Harness, fate: str) -> None:
    job = decided(bridge, 101, 30)
    by_hand = {"voided": "void", "confirmed by hand": "confirmed"}
    if fate == "unclear sale":
        bridge.fault("nexudus", SALE, "drop_before")
    if fate in by_hand:
        refused(bridge, 101)
        ref = reference("london", str(job), "sale", 0)
        decide(bridge.bridge, [ref], by_hand[fate], reason="seen", operator="test")
    send(bridge)
    if fate == "deleted":
        bridge.delete("coworkerproducts", bridge.sales()[0]["Id"])
    if fate == "unclear delete":
        bridge.fault("nexudus", "DELETE coworkerproducts", "drop_before")
    bridge.refund(job)
    bridge.advance(minutes=1)
    charge(bridge)
    before = len(bridge.sales())
    for _ in range(3):
        bridge.advance(minutes=16)
        assert charge(bridge).ok
    assert bridge.sales() == [], "a refunded job must cost nothing"
    states = {each.split()[-1] for lines in bridge.events().values() for each in lines}
    assert states <= {"confirmed", "void"}, f"{before} sales were left, and lines are open: {bridge.events()}"


# Credits --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["told so", "ignored"])
def test_a_credit_that_cannot_be_written_is_used_on_the_ledger(folder: Path, how: str) -> None:
    own = {"credit_writeback": "ledger"} if how == "told so" else {}
    with running(folder, people(credit_put_remaining="ignore"), **own) as bridge:
        assert bridge.sync().ok
        job = decided(bridge, 201, 40)
        assert send(bridge).metadata["nexudus_print_charges"]["kept_on_ledger"] == 1
        assert bridge.credits()[credit_of(201)] == 100
        assert line(bridge, job, "credit")["state"] == "confirmed"
        assert bridge.sync().ok
        assert bridge.users()[mail(201)]["balance"] == 60, "what is used on the ledger cannot be used again"
        bridge.refund(job)
        bridge.advance(minutes=1)
        assert bridge.sync().ok
        assert bridge.sync().ok
        assert (bridge.users()[mail(201)]["balance"], bridge.credits()[credit_of(201)]) == (100, 100)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda bridge: bridge.delete(CREDIT, 501), "credit 501 no longer exists in Nexudus"),
        (lambda bridge: bridge.edit(CREDIT, 501, RemainingUses=5), "has 5 left, but 40 were allocated"),
    ],
    ids=["gone", "lowered"],
)
def test_a_credit_that_is_gone_or_lowered_since_it_was_allocated_is_held(bridge: Harness, change, said: str) -> None:
    job = decided(bridge, 201, 40)
    change(bridge)
    bridge.forget_calls()
    assert send(bridge).ok
    held = line(bridge, job, "credit")
    assert held["state"] == "held"
    assert said in str(held["detail"])
    assert bridge.writes() == {}, "a credit that is not what it was is not written to"


def test_a_credit_that_changes_while_it_is_written_is_held(bridge: Harness) -> None:
    job = decided(bridge, 201, 40)
    sending(bridge, f"PUT {CREDIT}", lambda: bridge.edit(CREDIT, 501, RemainingUses=77))
    held = line(bridge, job, "credit")
    assert held["state"] == "held"
    assert "had 100 left, was to have 60" in str(held["detail"])
    assert "but has 77" in str(held["detail"])


def test_an_edit_between_the_two_reads_of_a_credit_is_seen_and_the_next_run_uses_what_is_left(bridge: Harness) -> None:
    job = decided(bridge, 201, 40)
    sending(bridge, f"GET {CREDIT}", lambda: bridge.edit(CREDIT, 501, RemainingUses=90))
    assert (line(bridge, job, "credit")["state"], bridge.credits()[501]) == ("priced", 90)
    assert charge(bridge).ok
    assert bridge.credits()[501] == 50


def test_a_credit_that_names_one_of_the_lines_has_that_one_done_and_the_other_held(bridge: Harness) -> None:
    first, second = printed(bridge, 201, 40), decided(bridge, 201, 30)
    bridge.edit(CREDIT, 501, Notes=f"gift {reference('london', str(first), 'credit', 0)}", RemainingUses=60)
    assert send(bridge).ok
    assert line(bridge, first, "credit")["state"] == "confirmed"
    held = line(bridge, second, "credit")
    assert held["state"] == "held"
    assert "perhaps with this line, before this ledger knew" in str(held["detail"])
    assert bridge.credits()[501] == 60


def test_a_credit_whose_read_back_fails_is_looked_up_and_not_written_again(bridge: Harness) -> None:
    job = decided(bridge, 201, 40)
    bridge.fault("nexudus", f"GET {CREDIT}", "status", times=99, after=2)
    send(bridge)
    assert line(bridge, job, "credit")["state"] == "unknown"
    bridge.heal()
    bridge.advance(minutes=16)
    assert charge(bridge).ok
    assert (line(bridge, job, "credit")["state"], bridge.credits()[501]) == ("confirmed", 60)


def test_a_credit_used_under_an_unknown_reference_stops_the_site(bridge: Harness) -> None:
    decided(bridge, 201, 40)
    foreign = reference("london", "99", "credit", 0)
    bridge.edit(CREDIT, 501, Notes=f"gift {foreign}")
    kind, text = send(bridge).failures["nexudus_print_charges"]
    assert kind == "UnsafeError"
    assert f"last used under {foreign}, which the ledger of site london does not know" in text
    assert bridge.credits()[501] == 100


def test_two_sites_cannot_use_the_same_credits_twice(folder: Path) -> None:
    sites = ("london", "leeds")
    given = world([customer(201)], [credit(501, 201, 50)], sites=sites)
    with running(folder, given, customers="all") as bridge:
        for site in sites:
            assert bridge.sync(site).ok
            assert bridge.print_job(mail(201), 40, site)["allowed"]
        bridge.advance(minutes=31)
        for site in sites:
            assert bridge.sync(site, only=DECIDED).ok
        assert bridge.sync("london", only=SENT).ok
        kind, text = bridge.sync("leeds", only=SENT).failures["nexudus_print_charges"]
        assert kind == "TransientError"
        assert "first credit 501 (40 cents wanted)" in text
        assert bridge.credits() == {501: 10}


def test_a_recreated_credit_holds_what_is_left(folder: Path) -> None:
    with running(folder, people(), credit_writeback="recreate") as bridge:
        assert bridge.sync().ok
        part, whole = decided(bridge, 201, 40), decided(bridge, 202, 100)
        outcome = send(bridge)
        with bridge.bridge.warehouse.connect() as con:
            assert ledger.moved_by(con, outcome.run_id).rows() == [("credit", "confirmed", 2, 140)]
        left = bridge.credits()
        assert sorted(left.values()) == [60, 100], "one credit of 60 for 201, none for 202, 203 as it was"
        assert not {501, 502} & set(left)
        bridge.refund(part)
        bridge.advance(minutes=1)
        assert charge(bridge).ok
        assert "undo_credit 40 held" in bridge.events()[str(part)], "the credit it was taken from is gone"
        assert bridge.events()[str(whole)] == ["credit 100 confirmed"]


@pytest.mark.parametrize(("fault", "now"), [("drop_before", "there twice"), ("drop_after", "gone")])
def test_a_recreated_credit_whose_old_one_may_still_be_there_is_held(folder: Path, fault: str, now: str) -> None:
    with running(folder, people(), credit_writeback="recreate") as bridge:
        assert bridge.sync().ok
        job = decided(bridge, 201, 40)
        bridge.fault("nexudus", f"DELETE {CREDIT}", fault)
        send(bridge)
        assert line(bridge, job, "credit")["state"] == "unknown"
        bridge.advance(minutes=16)
        assert send(bridge).ok
        held = line(bridge, job, "credit")
        assert held["state"] == "held"
        assert f"the credit now is {now}. What to do: compare it in Nexudus with 60 expected" in str(held["detail"])


# What a person decides ------------------------------------------------------------------------------------------------


def held_sale(bridge: Harness, number: int, cost: int) -> str:
    job = decided(bridge, number, cost)
    refused(bridge, number)
    assert line(bridge, job)["state"] == "held"
    return reference("london", str(job), "sale", 0)


def test_a_decision_is_proved_before_it_is_stored(bridge: Harness) -> None:
    first, second = held_sale(bridge, 101, 30), held_sale(bridge, 102, 40)
    bridge.add("coworkerproducts", {
        "Id": 9001, "CoworkerId": 101, "BusinessId": 1, "ProductId": PRODUCTS[1], "Quantity": 30,
    })  # fmt: skip

    def choose(*refs: str, state: str = "confirmed", sale: int | None = None) -> list[dict[str, object]]:
        return decide(bridge.bridge, list(refs), state, reason="seen", operator="test", sale=sale)

    with pytest.raises(MissingError, match="has no line NO-SUCH"):
        choose(first, "NO-SUCH")
    with pytest.raises(MissingError):
        choose(first, sale=1)
    with pytest.raises(UnsafeError, match=r"is 30 cents for customer 101, but line .* is 40 cents for customer 102"):
        choose(second, sale=9001)
    assert [each["ref"] for each in choose(first, first, sale=9001)] == [first], "named twice is one line"
    with pytest.raises(UnsafeError, match="is confirmed, not held"):
        choose(second, first, state="void")
    assert "sale 40 held" in str(bridge.events()), "all or none"
    choose(second, state="priced")
    assert charge(bridge).ok
    assert sorted(each["Quantity"] for each in bridge.sales()) == [30, 40]


def test_a_held_credit_has_no_sale_and_a_line_without_customer_cannot_be_sent(bridge: Harness) -> None:
    job = decided(bridge, 201, 40)
    bridge.edit(CREDIT, 501, RemainingUses=5)
    assert send(bridge).ok
    ref = reference("london", str(job), "credit", 0)
    with pytest.raises(ConfigError, match="is of kind credit, which has no sale"):
        decide(bridge.bridge, [ref], "confirmed", reason="seen", operator="test", sale=1)
    decide(bridge.bridge, [ref], "confirmed", reason="lowered by hand", operator="test")
    assert '"mode": "nexudus"' in str(line(bridge, job, "credit")["detail"])
    odd = bridge.print_job(mail(102), -5)["job_id"]
    bridge.advance(minutes=31)
    assert charge(bridge).ok
    assert line(bridge, odd)["state"] == "held"
    with pytest.raises(UnsafeError, match="has no customer or no amount"):
        decide(bridge.bridge, [reference("london", str(odd), "sale", 0)], "priced", reason="try", operator="test")
