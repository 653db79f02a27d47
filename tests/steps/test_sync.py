"""The whole chain against real servers: who becomes a user, what a job costs whom, and what a change leads to.

What belongs here: what people at the printer and in the accounts see after runs. What does not: the rules case by case
(`tests/domain`), failures (`test_bad_input.py`, `test_reruns.py`).

A story is told once per module, several tests look at its chapters. The oracle is the servers' own state.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipeline.dagster.outcomes import Outcome
from pipeline.store import stops
from tests.harness import Harness, running, telling
from tests.worlds import LEEDS, Json, credit, customer, mail, world

BOTH = ("london", "leeds")


def succeeded(outcome: Outcome) -> Outcome:
    assert outcome.ok, f"a run that should succeed did not: {outcome.failures}"
    return outcome


def says(text: str, *words: str) -> None:
    for word in words:
        assert word in text, f"the text should name {word!r}: {text}"


@dataclass
class Story:
    """What the servers said after each chapter."""

    harness: Harness
    users: dict[str, dict[str, Json]] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    sales: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    credits: dict[str, dict[int, int]] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    def chapter(self, name: str, site: str = "london") -> None:
        """Run the site, then write down what the servers have."""
        self.outcomes[name] = self.harness.sync(site, checks=True)
        self.users[name] = self.harness.users(site)
        self.sales[name] = sorted((sale["CoworkerId"], sale["Quantity"]) for sale in self.harness.sales())
        self.credits[name] = self.harness.credits()

    def balance(self, chapter: str, number: int) -> float:
        return self.users[chapter][mail(number)]["balance"]


# Four pricing models and two sources of jobs -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models() -> Generator[Story, None, None]:
    """Credits Only from the database in London, Pay-per-print Only from the print log in Leeds."""
    people = [
        customer(101), customer(102, PaperCutPayAsYouPrint=True), customer(103, PaperCutFreePrinting=True),
        customer(201, PaperCutPayAsYouPrint=True, InvoicingBusinessId=LEEDS),
        customer(202, InvoicingBusinessId=LEEDS),
        customer(203, PaperCutFreePrinting=True, PaperCutPayAsYouPrint=True, InvoicingBusinessId=LEEDS),
    ]  # fmt: skip
    held = [credit(401, 101, 45), credit(402, 202, 45)]
    own = {
        "london": {"pricing_model": "credits_only", "charge_product_id": None},
        "leeds": {"pricing_model": "pay_per_print", "jobs": "print_log"},
    }
    with telling(world(people, held, sites=BOTH), sites=own) as harness:
        yield _model_story(Story(harness), "london", "leeds")


@pytest.fixture(scope="module")
def other_models() -> Generator[Story, None, None]:
    """Free Unlimited from the print log in London, Credits & Pay-per-print from the database in Leeds."""
    people = [
        customer(103, PaperCutFreePrinting=True), customer(104, PaperCutPayAsYouPrint=True),
        customer(201, PaperCutPayAsYouPrint=True, InvoicingBusinessId=LEEDS),
        customer(202, InvoicingBusinessId=LEEDS),
        customer(203, PaperCutFreePrinting=True, PaperCutPayAsYouPrint=True, InvoicingBusinessId=LEEDS),
    ]  # fmt: skip
    held = [credit(401, 201, 45), credit(402, 202, 45), credit(403, 104, 45)]
    own = {
        "london": {"pricing_model": "free_unlimited", "charge_product_id": None, "jobs": "print_log"},
        "leeds": {"pricing_model": "credits_and_pay_per_print", "jobs": "database"},
    }
    with telling(world(people, held, sites=BOTH), sites=own) as harness:
        yield _model_story(Story(harness), "london", "leeds")


def _model_story(story: Story, *sites: str) -> Story:
    """Everybody comes, everybody prints for 50 and for 20, everything is charged, and nothing is left to do."""
    harness = story.harness
    for site in sites:
        story.chapter(f"{site} first", site)
        everybody = [name for name in story.users[f"{site} first"] if name != "staff"]
        story.notes[site] = {
            name: [harness.print_job(name, cost, site)["allowed"] for cost in (50, 20)] for name in everybody
        }
    harness.advance(minutes=31)
    for site in sites:
        story.chapter(f"{site} charged", site)
    harness.forget_calls()
    for site in sites:
        story.chapter(f"{site} again", site)
    story.notes["writes"] = harness.writes()
    return story


@pytest.mark.parametrize("told", ["models", "other_models"])
def test_a_second_run_right_after_the_first_writes_nothing(told: str, request: pytest.FixtureRequest) -> None:
    story: Story = request.getfixturevalue(told)
    for outcome in story.outcomes.values():
        succeeded(outcome)
    assert story.notes["writes"] == {}, "a run right after another must change nothing: compare before writing"


def test_credits_only_admits_holders_restricted_and_refuses_a_job_they_do_not_cover(models: Story) -> None:
    first = models.users["london first"]
    assert set(first) == {"staff", mail(101), mail(103)}, "Credits Only: credits or the free flag, never the pay flag"
    assert (first[mail(101)]["restricted"], first[mail(101)]["balance"]) == (True, 45), "45 credits must be shown"
    assert first[mail(103)]["restricted"] is False, "free printing must not be restricted"
    assert models.notes["london"][mail(101)] == [False, True], "W1: 50 with 45 credits is refused, 20 is not"
    assert models.credits["london charged"][401] == 25, "the job of 20 must be taken from the credit of 45"
    assert models.balance("london charged", 101) == 25


def test_pay_per_print_charges_everything_and_touches_no_credit(models: Story) -> None:
    first = models.users["leeds first"]
    assert set(first) == {"staff", mail(201), mail(203)}, "Pay-per-print: the pay flag or the free flag, no credits"
    assert (first[mail(201)]["restricted"], first[mail(201)]["balance"]) == (False, 0)
    assert models.sales["leeds charged"] == [(201, 20), (201, 50)], "both jobs must be sales of their cost in cents"
    assert models.credits["leeds charged"][402] == 45, "credits are not available in this model"
    assert models.balance("leeds charged", 201) == 0, "what is invoiced must be given back to the balance"


def test_the_free_flag_wins_and_a_free_users_balance_is_left_alone(models: Story) -> None:
    assert models.balance("leeds charged", 203) == -70, "the balance of a free user must not be touched"
    waived = sorted(line for lines in models.harness.events("leeds").values() for line in lines if "waive" in line)
    assert waived == ["waive 20 confirmed", "waive 50 confirmed"], "free jobs must be in the ledger as waived"


def test_free_unlimited_charges_nobody_and_admits_only_the_flag(other_models: Story) -> None:
    assert set(other_models.users["london first"]) == {"staff", mail(103)}, "only the free flag counts in this model"
    assert other_models.notes["london"][mail(103)] == [True, True]
    lines = [line for lines in other_models.harness.events("london").values() for line in lines]
    assert sorted(lines) == ["waive 20 confirmed", "waive 50 confirmed"], "jobs must be waived, not charged"
    assert other_models.credits["london charged"][403] == 45


def test_credits_and_pay_per_print_uses_credits_that_cover_the_job_and_charges_the_rest(other_models: Story) -> None:
    first = other_models.users["leeds first"]
    assert (first[mail(201)]["restricted"], first[mail(202)]["restricted"]) == (False, True)
    assert other_models.notes["leeds"][mail(202)] == [False, True], "credits alone: the job of 50 is refused"
    assert other_models.sales["leeds charged"] == [(201, 50)], "45 credits do not cover 50: the whole job is charged"
    credits_ = other_models.credits["leeds charged"]
    assert (credits_[401], credits_[402]) == (25, 25), "the job of 20 must come from the credits"
    assert other_models.balance("leeds charged", 201) == 25


def test_the_print_log_and_the_database_give_the_same_money(models: Story, other_models: Story) -> None:
    for story in (models, other_models):
        for site in BOTH:
            totals = succeeded(story.harness.reconcile(site=site)).metadata["reconciliation"]
            assert totals["unexplained_cents"] == 0, f"{site}: PaperCut, the ledger and Nexudus differ: {totals}"


# A month of people ---------------------------------------------------------------------------------------------------

CARDED = {"AccessCardId": "CARD-101"}
TEAM = {"Email": mail(110), "FullName": "Pooled Ltd"}


def _people() -> list[Json]:
    pays = {"PaperCutPayAsYouPrint": True}
    return [
        customer(101, **pays, **CARDED), customer(102), customer(103, PaperCutFreePrinting=True), customer(104),
        customer(105, **pays, Active=False), customer(106, **pays, Email="a+b@example.com"),
        customer(107, **pays, AccessPincode=""), customer(108, **pays, AccessPincode="77777"),
        customer(109, **pays, AccessPincode="77777", RegistrationDate="2025-06-01T00:00:00Z"),
        customer(110), customer(111, CoworkerType=2, RegistrationDate="2020-01-01T00:00:00Z", **TEAM),
        customer(112, **pays, InvoicingBusinessId=LEEDS), customer(113, **pays, Archived=True), customer(114, **pays),
        customer(115), customer(116, **pays), customer(117, **pays), customer(118, **pays), customer(119, **pays),
        customer(120), customer(121), customer(122), customer(126, **pays, AccessCardId="CARD-126"),
        customer(130, RegistrationDate="2026-11-01T12:00:00Z", TariffId=9),
        customer(131, RegistrationDate="2026-11-01T12:00:00Z"), customer(132, TariffId=9),
    ]  # fmt: skip


def _credits() -> list[Json]:
    return [
        credit(402, 102, 100), credit(410, 110, 30, ExpireDate="2026-12-31T00:00:00Z"),
        credit(411, 111, 20, ExpireDate="2026-11-30T00:00:00Z"), credit(415, 115, 200_000), credit(420, 120, 50),
        credit(421, 121, 60), credit(422, 122, 10, ExpireDate="2026-11-02T10:30:00Z"),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def month() -> Generator[Story, None, None]:
    """People come, print, change, leave; a month goes by."""
    given = world(_people(), _credits())
    given["sites"]["london"]["users"].append(
        {"username": mail(114), "full_name": "Somebody Else", "internal": True, "balance": 7, "notes": "made by hand"}
    )
    new = {"members_pay_from": "2026-11-01T00:00:00Z"}
    with telling(given, card_number="access_card", new_customers=new) as harness:
        story = Story(harness)
        story.chapter("first")
        for number, cost in ((101, 30), (102, 40), (103, 12), (110, 45), (120, 50)):
            assert harness.print_job(mail(number), cost)["allowed"], f"PaperCut refused the job of customer {number}"
        harness.papercut("setUserProperty", mail(126), "primary-card-number", "SET-BY-STAFF")
        harness.edit("coworkers", 126, AccessCardId="CARD-126-NEW")
        harness.edit("coworkers", 101, AccessCardId="CARD-101-NEW", AccessPincode="54321")
        harness.advance(minutes=31)
        story.chapter("charged")
        harness.edit("coworkers", 116, Active=False)
        harness.edit("coworkers", 117, PaperCutPayAsYouPrint=False)
        harness.edit("coworkers", 118, Archived=True)
        harness.delete("coworkers", 119)
        harness.edit("coworkers", 121, Email="new.name@example.com")
        harness.advance(hours=2)
        harness.forget_calls()
        story.chapter("changed")
        story.notes["changed calls"] = harness.calls()
        harness.advance(days=31)
        story.chapter("a month later")
        harness.add("coworkerextraservices", credit(423, 120, 15))
        story.chapter("renewed")
        yield story


def test_everybody_who_may_print_becomes_a_user_and_nobody_else(month: Story) -> None:
    succeeded(month.outcomes["first"])
    expected = {mail(number) for number in (101, 102, 103, 108, 110, 116, 117, 118, 119, 120, 121, 122, 126, 130)}
    assert set(month.users["first"]) == expected | {"staff", mail(114)}, "see print_accounts for the reasons"


def test_credits_pool_over_the_accounts_of_one_email_and_expire_in_order(month: Story) -> None:
    assert month.balance("first", 110) == 50, "30 and 20 of two accounts must be one balance of 50"
    assert month.users["first"][mail(110)]["full_name"] == "Customer 110", "the individual is the preferred account"
    credits_ = month.credits["charged"]
    assert (credits_[411], credits_[410]) == (0, 5), "45 must come from the credit that expires first, then the other"


def test_jobs_are_charged_by_flag_and_credit(month: Story) -> None:
    succeeded(month.outcomes["charged"])
    assert month.sales["charged"] == [(101, 30)], "only the pay customer without credits gets a sale"
    assert month.credits["charged"][402] == 60
    assert [month.balance("charged", number) for number in (101, 102, 103, 120)] == [0, 60, -12, 0]


def test_defaults_for_new_members_act_only_on_members_created_after_the_date(month: Story) -> None:
    first = month.users["first"]
    assert first[mail(130)]["restricted"] is False, "a member created after members_pay_from must be unrestricted"
    assert mail(131) not in first, "the member default must not act on a contact"
    assert mail(132) not in first, "the default must not act on a member from before the date"


def test_pins_and_cards_follow_nexudus_but_never_over_a_card_set_in_papercut(month: Story) -> None:
    assert month.users["first"][mail(101)]["card_number"] == "CARD-101"
    changed = month.users["charged"][mail(101)]
    assert (changed["password"], changed["pin"]) == ("00054321", "54321"), "a new PIN must reach PaperCut"
    assert changed["card_number"] == "CARD-101-NEW", "a new card number must reach PaperCut"
    assert month.users["charged"][mail(126)]["card_number"] == "SET-BY-STAFF", "a card set by staff must stay"


def test_suspended_unflagged_archived_and_deleted_customers_leave(month: Story) -> None:
    succeeded(month.outcomes["changed"])
    left = {mail(number) for number in (116, 117, 118, 119)}
    assert not left & set(month.users["changed"]), "positive evidence must remove a user of ours"
    asked = month.notes["changed calls"]["nexudus"]["GET coworkers"]
    assert asked == 2, "after the complete read the one customer who is missing must be asked for by id"


def test_a_changed_email_renames_the_user_and_keeps_balance(month: Story) -> None:
    users = month.users["changed"]
    assert mail(121) not in users, "the old name must be gone"
    assert users["new.name@example.com"]["balance"] == 60, "a rename must keep the balance"
    assert month.users["first"][mail(121)]["notes"] == users["new.name@example.com"]["notes"], "it is the same user"


def test_credits_used_up_or_expired_restrict_at_zero_and_remove_after_the_days_to_keep(month: Story) -> None:
    for number in (120, 122):
        user = month.users["changed"][mail(number)]
        assert (user["restricted"], user["balance"]) == (True, 0), f"{mail(number)} must stay, unable to print"
        assert mail(number) not in month.users["a month later"], "after keep_without_credit_days the user must go"
    assert month.users["renewed"][mail(120)]["balance"] == 15, "a new credit must bring the user back"


def test_users_that_are_not_ours_are_never_touched(month: Story) -> None:
    for name in ("staff", mail(114)):
        before = month.users["first"][name]
        assert all(chapter[name] == before for chapter in month.users.values()), f"{name} is not ours, but was written"
    assert month.users["first"][mail(114)]["balance"] == 7
    told = month.harness.sites.store.read("user_sync_plan", "london").filter(username=mail(114))["reason"].to_list()
    says("; ".join(told), "printbridge adopt")


def test_what_needs_a_person_is_named_by_a_check(month: Story) -> None:
    findings = "\n".join(month.outcomes["first"].findings)
    assert "customer 107: no PIN" in findings
    assert "customers 108, 109" in findings, "the PIN clash must name both customers"
    assert "credit 415: 200000" in findings, "an oversize grant must be named"
    assert mail(115) not in month.users["first"], "an oversize grant must not count"


# Gates ---------------------------------------------------------------------------------------------------------------


def test_above_a_cap_nothing_of_that_phase_happens_until_a_person_resumes(folder: Path) -> None:
    people = [customer(number, PaperCutPayAsYouPrint=True) for number in range(101, 114)]
    with running(folder, world(people)) as harness:
        succeeded(harness.sync())
        for number in range(101, 107):
            harness.edit("coworkers", number, Active=False)
        for number in range(107, 113):
            harness.edit("coworkers", number, Email=f"n{number}@example.com")
        harness.add("coworkers", customer(120, PaperCutPayAsYouPrint=True))
        stopped = harness.sync()
        assert stopped.stopped, f"six removals of 13 must end in an UnsafeError: {stopped.failures}"
        text = stopped.failures["print_user_sync"][1]
        says(text, "6 removals", "6 renames", "printbridge resume london")
        names = set(harness.users())
        assert {mail(number) for number in range(101, 114)} <= names, "above the cap nobody is removed or renamed"
        assert mail(120) in names, "creating a user is another phase and must go on"

        harness.edit("coworkers", 101, Active=True)
        harness.edit("coworkers", 107, Email=mail(107))
        again = harness.sync()
        assert again.stopped, "a stop must hold until a person resumes, even when the plan is small again"
        assert mail(102) in harness.users()
        assert "n108@example.com" not in harness.users()

        harness.resume("london", "remove", "rename")
        succeeded(harness.sync())
        names = set(harness.users())
        assert not names & {mail(number) for number in range(102, 107)}, "resumed, the suspended must leave"
        assert {f"n{number}@example.com" for number in range(108, 113)} <= names, "resumed, the renames must happen"


def test_a_small_site_without_a_database_stays_in_step_hours_later(folder: Path) -> None:
    with running(folder, world([customer(101, PaperCutPayAsYouPrint=True)]), jobs="print_log") as harness:
        succeeded(harness.sync())
        for number in range(3):  # few users: most runs observe none of them again
            harness.advance(minutes=61)
            harness.edit("coworkers", 101, FullName=f"New Name {number}")
            succeeded(harness.sync())
            assert harness.users()[mail(101)]["full_name"] == f"New Name {number}"


def test_disabling_instead_of_deleting_and_the_size_of_the_licence(folder: Path) -> None:
    people = [
        customer(number, PaperCutPayAsYouPrint=True, RegistrationDate=f"2025-0{number - 100}-01T00:00:00Z")
        for number in (101, 102, 103)
    ]
    with running(folder, world(people), removal="disable", licence_users=3) as harness:
        first = succeeded(harness.sync())
        assert set(harness.users()) == {"staff", mail(101), mail(102)}, "three seats: staff and the two oldest"
        assert first.metadata["user_sync_plan"]["holds"] == 1, "who does not fit must be held and reported"
        harness.edit("coworkers", 101, Active=False)
        succeeded(harness.sync())
        assert harness.users()[mail(101)]["disabled_print"] is True, 'removal = "disable" must disable, not delete'
        harness.forget_calls()
        succeeded(harness.sync())
        assert harness.writes() == {}, "a disabled user must not be disabled again"
        harness.edit("coworkers", 101, Active=True)
        succeeded(harness.sync())
        assert harness.users()[mail(101)]["disabled_print"] is False, "who comes back must be enabled"


def test_partial_credits_use_takes_what_is_left_and_charges_the_rest(folder: Path) -> None:
    with running(
        folder, world([customer(101, PaperCutPayAsYouPrint=True)], [credit(401, 101, 45)]), partial_credits="use"
    ) as harness:
        succeeded(harness.sync())
        harness.print_job(mail(101), 50)
        harness.advance(minutes=31)
        succeeded(harness.sync())
        assert harness.credits() == {401: 0}, "D6: 45 credits are used"
        assert [sale["Quantity"] for sale in harness.sales()] == [5], "D6: 5 cents are charged"
        assert harness.users()[mail(101)]["balance"] == 0


def test_one_sites_dead_server_fails_that_site_and_nothing_else(folder: Path) -> None:
    people = [
        customer(101, PaperCutPayAsYouPrint=True),
        customer(201, PaperCutPayAsYouPrint=True, InvoicingBusinessId=LEEDS),
    ]
    with running(folder, world(people, sites=BOTH), sites={"leeds": {"jobs": "print_log"}}) as harness:
        for site in BOTH:
            succeeded(harness.sync(site))
        for number, site in ((101, "london"), (201, "leeds")):
            harness.print_job(mail(number), 30, site)
        harness.advance(minutes=31)
        harness.fault("leeds", "*", "drop_before", times=1000)
        dead = harness.sync("leeds")
        assert not dead.ok, "leeds is down, so its run must fail"
        kind, text = next(iter(dead.failures.values()))
        address = harness.settings.sites["leeds"].papercut.url.split("/")[2]
        assert kind == "TransientError", f"a dead server is a passing failure: {kind}"
        says(text, address, "What to do:")
        succeeded(harness.sync("london"))
        assert [sale["CoworkerId"] for sale in harness.sales()] == [101], "london must be charged all the same"
        harness.heal()
        succeeded(harness.sync("leeds"))
        assert sorted(sale["CoworkerId"] for sale in harness.sales()) == [101, 201], "nothing may be lost"


def _charged(harness: Harness) -> None:
    """One job of 30 cents, charged."""
    succeeded(harness.sync())
    harness.print_job(mail(101), 30)
    harness.advance(minutes=31)
    succeeded(harness.sync())
    assert [sale["Quantity"] for sale in harness.sales()] == [30]


def _unexplained(harness: Harness) -> Outcome:
    """The reconciliation of the day, in which 30 cents must be missing."""
    found = harness.reconcile()
    assert found.metadata["reconciliation"]["unexplained_cents"] == 30, "Nexudus does not show the sale"
    assert any("nothing_is_unexplained" in finding for finding in found.findings), "the check must be red"
    return found


def test_a_sale_that_is_gone_stops_new_charges_until_a_person_resumes_them(folder: Path) -> None:
    with running(folder, world([customer(101, PaperCutPayAsYouPrint=True)])) as harness:
        _charged(harness)
        harness.delete("coworkerproducts", harness.sales()[0]["Id"])
        harness.advance(minutes=20)
        _unexplained(harness)
        harness.print_job(mail(101), 20)
        harness.advance(minutes=31)
        refused = harness.sync()
        assert refused.stopped, refused.failures
        says(refused.failures["nexudus_print_charges"][1], "printbridge resume london")
        assert harness.sales() == [], "nothing may be charged while the books disagree"
        harness.resume("london", "charges")
        succeeded(harness.sync())
        assert [sale["Quantity"] for sale in harness.sales()] == [20], "the waiting job is charged once resumed"


def test_a_list_that_lags_behind_a_fresh_charge_does_not_stop_the_site(folder: Path) -> None:
    with running(folder, world([customer(101, PaperCutPayAsYouPrint=True)])) as harness:
        harness.switch(list_lag_seconds=300)
        _charged(harness)
        _unexplained(harness)
        with harness.sites.store.connect() as con:
            assert stops.states(con, "london") == {}, "a charge younger than the settle time may be lagging"
        harness.advance(minutes=20)
        assert harness.reconcile().metadata["reconciliation"]["unexplained_cents"] == 0


# Refunds and late changes --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def refunds() -> Generator[Story, None, None]:
    """Jobs that are refunded before, after and long after they were charged, in full and in part."""
    pays = {"PaperCutPayAsYouPrint": True}
    people = [*(customer(number, **pays) for number in (101, 102, 103, 104, 105)), customer(106), customer(107)]
    with telling(world(people, [credit(406, 106, 100), credit(407, 107, 100)])) as harness:
        story = Story(harness)
        story.chapter("first")
        jobs = {number: harness.print_job(mail(number), 40)["job_id"] for number in range(101, 108)}
        harness.refund(jobs[101])
        harness.advance(minutes=31)
        story.chapter("charged")
        harness.bill(103)
        harness.refund(jobs[102])
        harness.refund(jobs[103])
        harness.refund(jobs[104], amount=15)
        harness.print_job(mail(105), 55, job_id=jobs[105])
        harness.refund(jobs[106])
        harness.refund(jobs[107], amount=10)
        harness.advance(minutes=5)
        story.chapter("refunded")
        harness.advance(minutes=5)
        story.chapter("settled")
        harness.forget_calls()
        story.chapter("again")
        story.notes |= {"jobs": {number: str(job) for number, job in jobs.items()}, "writes": harness.writes()}
        yield story


def _line(story: Story, number: int) -> list[str]:
    return story.harness.events().get(story.notes["jobs"][number], [])


def test_a_refund_before_the_charge_means_no_charge(refunds: Story) -> None:
    succeeded(refunds.outcomes["charged"])
    assert 101 not in {payer for payer, _ in refunds.sales["charged"]}, "a refunded job must not be charged"
    assert _line(refunds, 101) == []


def test_a_refund_after_the_charge_deletes_the_sale(refunds: Story) -> None:
    assert (102, 40) in refunds.sales["charged"]
    assert 102 not in {payer for payer, _ in refunds.sales["settled"]}, "an un-invoiced sale must be deleted"


def test_a_refund_after_the_invoice_is_held_with_the_exact_step(refunds: Story) -> None:
    assert (103, 40) in refunds.sales["settled"], "an invoiced sale must stay"
    assert "undo_sale 40 held" in _line(refunds, 103), "the reversal must wait for a person"
    says("\n".join(refunds.outcomes["settled"].findings), "INV-0001", "credit note", "printbridge held confirm")


def test_a_partial_refund_or_another_cost_is_charged_anew(refunds: Story) -> None:
    settled = refunds.sales["settled"]
    assert [cents for payer, cents in settled if payer == 104] == [25], "40 less 15 refunded is 25"
    assert [cents for payer, cents in settled if payer == 105] == [55], "the cost rose to 55"


def test_refunds_of_credit_jobs_give_the_credits_back(refunds: Story) -> None:
    assert refunds.credits["charged"] == {406: 60, 407: 60}
    assert refunds.credits["settled"] == {406: 100, 407: 70}, "a full refund gives 40 back, a partial one 10"


def test_balances_come_to_rest_after_refunds(refunds: Story) -> None:
    for chapter in ("refunded", "settled"):
        succeeded(refunds.outcomes[chapter])
    assert [refunds.balance("settled", number) for number in (101, 102, 104, 105)] == [0, 0, 0, 0]
    assert [refunds.balance("settled", number) for number in (106, 107)] == [100, 70]
    assert refunds.notes["writes"] == {}, "after refunds are settled a run must change nothing"


def test_refunds_leave_nothing_unexplained(refunds: Story) -> None:
    totals = succeeded(refunds.harness.reconcile()).metadata["reconciliation"]
    assert totals["unexplained_cents"] == 0, f"PaperCut, the ledger and Nexudus differ: {totals}"
