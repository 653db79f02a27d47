"""What becomes of a charge when Nexudus is not as it was when the charge was decided.

What belongs here: sales and credits that somebody else changed, removed or named in between, credits that cannot be
lowered, and decisions of a person on held lines. What does not: interrupted runs (`tests/campaign/test_rules.py`) and
the ordinary course (`tests/steps/test_sync.py`). Everything runs on real servers; the oracle is what they hold, and the
ledger's words.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path

import polars as pl
import pytest

from pipeline.dagster.outcomes import Outcome
from pipeline.domain.money.references import reference
from pipeline.effects.effect import CONNECTIONS
from pipeline.effects.sales import ATTEMPTS, CHUNK, MANY
from pipeline.errors import ConfigError, MissingError, UnsafeError
from pipeline.operations.held import decide, waiting
from pipeline.store import ledger, memory
from pipeline.store.lines import lines_of_site, moved_by, one_line
from tests.campaign.runs import CHARGES
from tests.harness import Harness, during, running
from tests.stores import charge as charge_of
from tests.stores import charges, mover, recalled, transaction
from tests.worlds import PRODUCTS, credit, customer, mail, world

DECIDED, SENT = CHARGES[:-1], CHARGES[-1:]
PAYERS, HOLDERS = (101, 102, 103), (201, 202, 203)
SALE, CREDIT = "POST coworkerproducts", "coworkerextraservices"


def credit_of(holder: int) -> int:
    return holder + 300


def people(**switches: object) -> dict[str, object]:
    customers = [customer(number, PaperCutPayAsYouPrint=True) for number in PAYERS]
    customers += [customer(number) for number in HOLDERS]
    return world(customers, [credit(credit_of(number), number, 100) for number in HOLDERS], **switches)


@pytest.fixture
def harness(folder: Path) -> Generator[Harness, None, None]:
    with running(folder, people()) as begun:
        assert begun.sync().ok
        yield begun


def printed(harness: Harness, number: int, cost: int) -> int:
    job = harness.print_job(mail(number), cost)
    assert job["allowed"], f"PaperCut refused the job of customer {number}"
    return job["job_id"]


def decided(harness: Harness, number: int, cost: int) -> int:
    """A job that is priced, and not yet sent."""
    job = printed(harness, number, cost)
    harness.advance(minutes=31)
    assert harness.sync(only=DECIDED).ok
    return job


def send(harness: Harness) -> Outcome:
    return harness.sync(only=SENT)


def charge(harness: Harness) -> Outcome:
    return harness.sync(only=CHARGES)


def line(harness: Harness, job: int, kind: str = "sale", seq: int = 0) -> dict[str, object]:
    with harness.sites.store.connect() as con:
        return one_line(con, reference("london", str(job), kind, seq))


def refused(harness: Harness, number: int) -> None:
    """Send while Nexudus does not have the customer, who is back afterwards."""
    harness.delete("coworkers", number)
    assert send(harness).ok
    harness.add("coworkers", customer(number, PaperCutPayAsYouPrint=True))


def sending(harness: Harness, call: str, change: Callable[[], None]) -> Outcome:
    """Send, and change something while the answer to a call is on its way."""
    return during(harness, "nexudus", call, lambda: send(harness), change)


# Sales ----------------------------------------------------------------------------------------------------------------


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


# Credits --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["told so", "ignored"])
def test_a_credit_that_cannot_be_written_is_used_on_the_ledger(folder: Path, how: str) -> None:
    own = {"credit_writeback": "ledger"} if how == "told so" else {}
    with running(folder, people(credit_put_remaining="ignore"), **own) as harness:
        assert harness.sync().ok
        job = decided(harness, 201, 40)
        assert send(harness).metadata["nexudus_print_charges"]["kept_on_ledger"] == 1
        assert harness.credits()[credit_of(201)] == 100
        assert line(harness, job, "credit")["state"] == "confirmed"
        assert harness.sync().ok
        assert harness.users()[mail(201)]["balance"] == 60, "what is used on the ledger cannot be used again"
        harness.refund(job)
        harness.advance(minutes=1)
        assert harness.sync().ok
        assert harness.sync().ok
        assert (harness.users()[mail(201)]["balance"], harness.credits()[credit_of(201)]) == (100, 100)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda harness: harness.delete(CREDIT, 501), "credit 501 no longer exists in Nexudus"),
        (lambda harness: harness.edit(CREDIT, 501, RemainingUses=5), "has 5 left, but 40 were allocated"),
    ],
    ids=["gone", "lowered"],
)
def test_a_credit_that_is_gone_or_lowered_since_it_was_allocated_is_held(harness: Harness, change, said: str) -> None:
    job = decided(harness, 201, 40)
    change(harness)
    harness.forget_calls()
    assert send(harness).ok
    held = line(harness, job, "credit")
    assert held["state"] == "held"
    assert said in str(held["detail"])
    assert harness.writes() == {}, "a credit that is not what it was is not written to"


def test_a_credit_that_changes_while_it_is_written_is_held(harness: Harness) -> None:
    job = decided(harness, 201, 40)
    sending(harness, f"PUT {CREDIT}", lambda: harness.edit(CREDIT, 501, RemainingUses=77))
    held = line(harness, job, "credit")
    assert held["state"] == "held"
    assert "had 100 left, was to have 60" in str(held["detail"])
    assert "but has 77" in str(held["detail"])


def test_an_edit_between_the_two_reads_of_a_credit_is_seen_and_the_next_run_uses_what_is_left(harness: Harness) -> None:
    job = decided(harness, 201, 40)
    sending(harness, f"GET {CREDIT}", lambda: harness.edit(CREDIT, 501, RemainingUses=90))
    assert (line(harness, job, "credit")["state"], harness.credits()[501]) == ("priced", 90)
    assert charge(harness).ok
    assert harness.credits()[501] == 50


def test_a_credit_that_names_one_of_the_lines_has_that_one_done_and_the_other_held(harness: Harness) -> None:
    first, second = printed(harness, 201, 40), decided(harness, 201, 30)
    harness.edit(CREDIT, 501, Notes=f"gift {reference('london', str(first), 'credit', 0)}", RemainingUses=60)
    assert send(harness).ok
    assert line(harness, first, "credit")["state"] == "confirmed"
    held = line(harness, second, "credit")
    assert held["state"] == "held"
    assert "perhaps with this line, before this ledger knew" in str(held["detail"])
    assert harness.credits()[501] == 60


def test_a_credit_whose_read_back_fails_is_looked_up_and_not_written_again(harness: Harness) -> None:
    job = decided(harness, 201, 40)
    harness.fault("nexudus", f"GET {CREDIT}", "status", times=99, after=2)
    send(harness)
    assert line(harness, job, "credit")["state"] == "unknown"
    harness.heal()
    harness.advance(minutes=16)
    assert charge(harness).ok
    assert (line(harness, job, "credit")["state"], harness.credits()[501]) == ("confirmed", 60)


def test_a_pause_that_nexudus_asks_for_while_credits_are_used_ends_the_run_and_the_next_one_uses_them_once(
    harness: Harness,
) -> None:
    first, second = printed(harness, 201, 40), decided(harness, 202, 30)
    harness.fault("nexudus", f"PUT {CREDIT}", "throttle", times=99, style="429_retry_after", seconds=3600)
    kind, text = send(harness).failures["nexudus_print_charges"]
    assert (kind, "HTTP 429" in text) == ("TransientError", True), text
    assert {line(harness, job, "credit")["state"] for job in (first, second)} == {"priced"}
    assert harness.credits() == dict.fromkeys(map(credit_of, HOLDERS), 100)
    harness.heal()
    harness.sites.close()  # the pause is the client's
    assert send(harness).ok
    assert {line(harness, job, "credit")["state"] for job in (first, second)} == {"confirmed"}
    assert harness.credits() == {credit_of(201): 60, credit_of(202): 70, credit_of(203): 100}


def test_a_credit_used_under_an_unknown_reference_stops_the_site(harness: Harness) -> None:
    decided(harness, 201, 40)
    foreign = reference("london", "99", "credit", 0)
    harness.edit(CREDIT, 501, Notes=f"gift {foreign}")
    kind, text = send(harness).failures["nexudus_print_charges"]
    assert kind == "UnsafeError"
    assert f"last used under {foreign}, which the ledger of site london does not know" in text
    assert harness.credits()[501] == 100


def test_two_sites_cannot_use_the_same_credits_twice(folder: Path) -> None:
    sites = ("london", "leeds")
    given = world([customer(201)], [credit(501, 201, 50)], sites=sites)
    with running(folder, given, customers="all") as harness:
        for site in sites:
            assert harness.sync(site).ok
            assert harness.print_job(mail(201), 40, site)["allowed"]
        harness.advance(minutes=31)
        for site in sites:
            assert harness.sync(site, only=DECIDED).ok
        assert harness.sync("london", only=SENT).ok
        kind, text = harness.sync("leeds", only=SENT).failures["nexudus_print_charges"]
        assert kind == "TransientError"
        assert "first credit 501 (40 cents wanted)" in text
        assert harness.credits() == {501: 10}


def test_a_recreated_credit_holds_what_is_left(folder: Path) -> None:
    with running(folder, people(), credit_writeback="recreate") as harness:
        assert harness.sync().ok
        part, whole = decided(harness, 201, 40), decided(harness, 202, 100)
        outcome = send(harness)
        with harness.sites.store.connect() as con:
            assert moved_by(con, outcome.run_id).rows() == [("credit", "confirmed", 2, 140)]
        left = harness.credits()
        assert sorted(left.values()) == [60, 100], "one credit of 60 for 201, none for 202, 203 as it was"
        assert not {501, 502} & set(left)
        harness.refund(part)
        harness.advance(minutes=1)
        assert charge(harness).ok
        assert "undo_credit 40 held" in harness.events()[str(part)], "the credit it was taken from is gone"
        assert harness.events()[str(whole)] == ["credit 100 confirmed"]


@pytest.mark.parametrize(("fault", "now"), [("drop_before", "there twice"), ("drop_after", "gone")])
def test_a_recreated_credit_whose_old_one_may_still_be_there_is_held(folder: Path, fault: str, now: str) -> None:
    with running(folder, people(), credit_writeback="recreate") as harness:
        assert harness.sync().ok
        job = decided(harness, 201, 40)
        harness.fault("nexudus", f"DELETE {CREDIT}", fault)
        send(harness)
        assert line(harness, job, "credit")["state"] == "unknown"
        harness.advance(minutes=16)
        assert send(harness).ok
        held = line(harness, job, "credit")
        assert held["state"] == "held"
        assert f"the credit now is {now}. What to do: compare it in Nexudus with 60 expected" in str(held["detail"])


# What a person decides ------------------------------------------------------------------------------------------------


def held_sale(harness: Harness, number: int, cost: int) -> str:
    job = decided(harness, number, cost)
    refused(harness, number)
    assert line(harness, job)["state"] == "held"
    return reference("london", str(job), "sale", 0)


def test_a_decision_is_proved_before_it_is_stored(harness: Harness) -> None:
    first, second = held_sale(harness, 101, 30), held_sale(harness, 102, 40)
    harness.add("coworkerproducts", {
        "Id": 9001, "CoworkerId": 101, "BusinessId": 1, "ProductId": PRODUCTS[1], "Quantity": 30,
    })  # fmt: skip

    def choose(*refs: str, state: str = "confirmed", sale: int | None = None) -> list[dict[str, object]]:
        return decide(harness.sites, list(refs), state, reason="seen", operator="test", sale=sale)

    with pytest.raises(MissingError, match="has no line NO-SUCH"):
        choose(first, "NO-SUCH")
    with pytest.raises(MissingError):
        choose(first, sale=1)
    with pytest.raises(UnsafeError, match=r"is 30 cents for customer 101, but line .* is 40 cents for customer 102"):
        choose(second, sale=9001)
    assert [each["ref"] for each in choose(first, first, sale=9001)] == [first], "named twice is one line"
    with pytest.raises(UnsafeError, match="is confirmed, not held"):
        choose(second, first, state="void")
    assert "sale 40 held" in str(harness.events()), "all or none"
    choose(second, state="priced")
    assert charge(harness).ok
    assert sorted(each["Quantity"] for each in harness.sales()) == [30, 40]


def test_what_waits_for_a_person_is_shown_for_every_site_that_has_any(harness: Harness) -> None:
    ref = held_sale(harness, 101, 30)
    ours, (site,) = [("london", ref, "held")], harness.sites
    for shown in (waiting(harness.sites), waiting(harness.sites, [site])):
        assert [(line["site"], line["ref"], line["state"]) for line in shown] == ours
    assert waiting(harness.sites, []) == []
    with transaction(harness.sites.store) as con:  # a line of a site that left bridge.toml, whose name is not known
        ledger.enter(con, charges(charge_of("7", state="held", site="york")), mover())
    assert [line["site"] for line in waiting(harness.sites)] == ["london", "york"]
    assert [line["site"] for line in waiting(harness.sites, [site])] == ["london"]


def test_a_held_credit_has_no_sale_and_a_line_without_customer_cannot_be_sent(harness: Harness) -> None:
    job = decided(harness, 201, 40)
    harness.edit(CREDIT, 501, RemainingUses=5)
    assert send(harness).ok
    ref = reference("london", str(job), "credit", 0)
    with pytest.raises(ConfigError, match="is of kind credit, which has no sale"):
        decide(harness.sites, [ref], "confirmed", reason="seen", operator="test", sale=1)
    decide(harness.sites, [ref], "confirmed", reason="lowered by hand", operator="test")
    assert '"mode": "nexudus"' in str(line(harness, job, "credit")["detail"])
    odd = harness.print_job(mail(102), -5)["job_id"]
    harness.advance(minutes=31)
    assert charge(harness).ok
    assert line(harness, odd)["state"] == "held"
    with pytest.raises(UnsafeError, match="has no customer or no amount"):
        decide(harness.sites, [reference("london", str(odd), "sale", 0)], "priced", reason="try", operator="test")
