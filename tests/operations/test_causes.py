"""What needs a person, from real runs: each kind is one cause, with numbers, a step that works, and an end.

The oracle is what `causes` says after runs against the sandbox; `tests/operations/test_alerts.py` has how it is told.
"""

from __future__ import annotations

import json
from collections.abc import Generator

import pytest

from pipeline.operations.causes import causes
from pipeline.operations.kinds import Cause
from pipeline.store import changes, memory, sites
from tests.harness import Harness, telling
from tests.worlds import credit, customer, world


def mail(number: int) -> str:
    return f"c{number}@example.com"


def standing(harness: Harness) -> dict[str, Cause]:
    """The causes by kind; a kind stands once for a site."""
    found = causes(harness.sites, [])
    kinds = {cause.kind: cause for cause in found}
    assert len(kinds) == len(found), [cause.cause for cause in found]
    return kinds


def note(harness: Harness, site: str, name: str, *said: object) -> None:
    at = harness.sites.clock()
    harness.sites.store.commit(lambda con: memory.note(con, site, name, json.dumps(said), at))


@pytest.fixture(scope="module")
def whole() -> Generator[Harness, None, None]:
    people = [customer(number, PaperCutPayAsYouPrint=True) for number in range(101, 106)]
    with telling(world([*people, customer(110)], [credit(410, 110, 30)]), rounding="hold", max_credits=1000) as harness:
        harness.advance(minutes=1)
        assert harness.sync().ok
        yield harness


@pytest.fixture
def harness(whole: Harness) -> Generator[Harness, None, None]:
    """A site with nothing that needs a person, before and after."""
    assert standing(whole) == {}
    yield whole
    whole.heal()
    whole.sync()
    assert standing(whole) == {}, "what was put right must not stand any more"


def test_many_jobs_without_an_owner_are_one_cause_with_a_count_and_examples(harness: Harness) -> None:
    printed = [harness.print_job("staff", 3) for _ in range(12)]
    harness.advance(minutes=31)
    assert harness.sync().ok
    (cause,) = standing(harness).values()
    assert (cause.kind, cause.cause) == ("jobs without an owner", "london jobs without an owner")
    assert cause.title == "london: 12 jobs without an owner (36.00 credits): nobody is charged"
    assert (len(cause.facts), cause.facts[-1]) == (11, "And 2 more.")
    assert "printbridge held assign JOB --customer ID" in cause.remedy
    for each in printed:
        harness.refund(each["job_id"])
    harness.advance(minutes=31)
    harness.sync(**{"printbridge/reread_days": "45"})


def test_a_row_of_the_log_and_a_record_that_cannot_be_read(harness: Harness) -> None:
    note(harness, "london", memory.JOB_PROBLEMS, "row 7 of 2026-11-02.csv: no time", "row 9: no user")
    odd = json.dumps({"117": "117: AccessPincode is no text"})
    at, where = harness.sites.clock(), memory.problems("nexudus_customers")
    harness.sites.store.commit(lambda con: memory.note(con, memory.ACCOUNT, where, odd, at))
    found = standing(harness)
    assert found["unreadable jobs"].title == "london: 2 rows of the job log that cannot be read"
    assert found["unreadable jobs"].facts[0] == "row 7 of 2026-11-02.csv: no time."
    assert found["unreadable records"].facts == ("Customer 117: AccessPincode is no text.",)
    harness.sites.store.commit(lambda con: memory.note(con, memory.ACCOUNT, where, "{}", at))


def test_a_printer_whose_jobs_cost_nothing(harness: Harness) -> None:
    harness.print_job(mail(101), 5, printer="p1")
    for _ in range(2):
        harness.print_job(mail(101), 0, printer="p1")
    harness.advance(minutes=31)
    assert harness.sync().ok
    assert standing(harness) == {}, "a job may cost nothing now and then"
    harness.print_job(mail(102), 0, printer="p1")
    harness.advance(minutes=31)
    assert harness.sync().ok
    (cause,) = standing(harness).values()
    assert (cause.kind, cause.facts[0][:11]) == ("printer without a price", "p1: 3 jobs ")
    harness.print_job(mail(102), 4, printer="p1")
    harness.advance(minutes=31)


def test_a_lost_mark_is_told_and_of_a_suspended_customer_at_once_as_urgent(harness: Harness) -> None:
    notes = harness.users()[mail(103)]["notes"]
    harness.papercut("setUserProperty", mail(103), "notes", "asked for a new card")
    assert harness.sync().ok
    (cause,) = standing(harness).values()
    assert (cause.kind, cause.urgent) == ("mark lost", False)
    assert cause.facts == ("Customer 103: the mark is gone from the notes.",)
    assert "printbridge adopt --site london" in cause.remedy
    harness.edit("coworkers", 103, Active=False)
    harness.advance(minutes=1)
    assert harness.sync().ok
    (cause,) = standing(harness).values()
    assert (cause.kind, cause.urgent) == ("prints without right", True)
    assert cause.title == "london: 1 user can print although the customer may not: our mark is lost"
    findings = [text for text in harness.findings() if "nothing_needs_a_person" in text]
    assert cause.title in findings[0], "the checks of the UI read the same list"
    harness.papercut("setUserProperty", mail(103), "disabled-print", "true")
    assert harness.sync().ok
    assert standing(harness) == {}, "what the remedy says must end the cause"
    harness.papercut("setUserProperty", mail(103), "disabled-print", "false")
    harness.papercut("setUserProperty", mail(103), "notes", notes)
    harness.edit("coworkers", 103, Active=True)
    harness.advance(minutes=1)


def test_held_rows_of_a_plan_say_why_in_the_words_of_the_plan(harness: Harness) -> None:
    harness.papercut("addNewInternalUser", mail(120), "word-12345", "Somebody", mail(120), "", "")
    harness.add("coworkers", customer(120, PaperCutPayAsYouPrint=True))
    harness.add("coworkers", customer(121, AccessPincode="", PaperCutPayAsYouPrint=True))
    harness.papercut("setUserProperty", mail(104), "disabled-print", "true")
    harness.add("coworkerextraservices", credit(411, 110, 1500))
    harness.advance(minutes=1)
    assert harness.sync().ok
    found = standing(harness)
    assert set(found) == {"user held: foreign name", "user held: disabled", "customer left out", "credit too large"}
    assert found["user held: foreign name"].facts[0].startswith("Customer 120: the user exists in PaperCut but is not")
    assert "printbridge adopt --site london" in found["user held: foreign name"].remedy
    assert found["user held: disabled"].facts[0].startswith("Customer 104: the user was disabled")
    assert found["customer left out"].facts == (
        "Customer 121: the customer has no PIN; set one in Nexudus under Access.",
    )
    assert found["credit too large"].facts == ("Credit 411 of customer 110: 1500.",)
    harness.delete("coworkerextraservices", 411)
    harness.delete("coworkers", 120)
    harness.delete("coworkers", 121)
    harness.papercut("setUserProperty", mail(104), "disabled-print", "false")
    harness.advance(minutes=61)


def test_too_large_a_balance_and_no_seat(harness: Harness) -> None:
    for number in (412, 413):
        harness.add("coworkerextraservices", credit(number, 110, 900))
    harness.advance(minutes=1)
    assert harness.sync().ok
    assert set(standing(harness)) == {"user held: too large a credit"}
    for number in (412, 413):
        harness.delete("coworkerextraservices", number)
    harness.add("coworkers", customer(122, PaperCutPayAsYouPrint=True))
    harness.advance(minutes=61)
    harness.reconfigure({"[sites.london]\n": "[sites.london]\nlicence_users = 7\n"})
    try:
        assert harness.sync().ok
        found = standing(harness)
        assert set(found) == {"seats", "user held: no seat"}
        assert found["user held: no seat"].facts[0].startswith("Customer 122: no licence seat")
    finally:
        harness.reconfigure({"licence_users = 7\n": ""})
        harness.delete("coworkers", 122)
        harness.advance(minutes=61)


def test_a_change_that_fails_in_every_run(harness: Harness) -> None:
    harness.edit("coworkers", 105, FullName="Another Name")
    harness.advance(minutes=1)
    harness.fault("london", "api.setUser*", "status", code=500, times=100)
    harness.sync()
    assert standing(harness) == {}, "one refusal may be chance"
    harness.sync()
    (cause,) = standing(harness).values()
    assert (cause.kind, cause.title) == ("change refused", "london: 1 change of users failed in every run")
    assert cause.facts[0].startswith("update of customer 105: unknown 2 times, last: ")
    with harness.sites.store.connect() as con:
        assert changes.failing(con, "london").height == 1


def test_a_sale_without_an_answer_at_a_site_that_takes_no_money_any_more(harness: Harness) -> None:
    harness.print_job(mail(102), 25)
    harness.advance(minutes=31)
    harness.fault("nexudus", "POST coworkerproducts", "drop_after")
    harness.sync()
    assert harness.events()[max(harness.events(), key=int)] == ["sale 25 unknown"]
    model = 'pricing_model = "credits_and_pay_per_print"'
    harness.reconfigure({model: 'pricing_model = "credits_only"'})
    try:
        cause = standing(harness)["sale without an answer"]
        assert cause.title == "london: 1 sale on the way, but pricing_model is credits_only"
    finally:
        harness.reconfigure({'pricing_model = "credits_only"': model})
    harness.advance(minutes=61)
    harness.sync()


def test_a_sale_with_a_reference_of_no_known_job(harness: Harness) -> None:
    note(harness, "london", memory.STRANGE, 9001, 9002)
    cause = standing(harness)["sale of no job"]
    assert cause.facts == ("Sale 9001 in Nexudus.", "Sale 9002 in Nexudus.")
    note(harness, "london", memory.STRANGE)


def test_a_site_that_is_not_in_the_file_any_more() -> None:
    people = [customer(101, PaperCutPayAsYouPrint=True)]
    with telling(world(people, sites=("london", "leeds")), rounding="hold", customers="all") as harness:
        assert harness.sync("leeds").ok
        for cost in ("2.5", "3.5"):
            harness.print_job(mail(101), cost, site="leeds")
        harness.advance(minutes=31)
        assert harness.sync("leeds").ok
        text = harness.config.read_text("utf-8")
        head, found, _ = text.partition("[sites.leeds]")
        assert found
        harness.reconfigure({text: head})
        (cause,) = causes(harness.sites, [])
        assert (cause.kind, cause.cause) == ("site removed", "leeds site removed")
        assert cause.facts[0] == "2 charges (7 cents) outstanding: 2 held."
        assert "printbridge site rename leeds NEW" in cause.remedy
        with harness.sites.store.connect() as con:
            assert sites.records(con)["leeds"].name == "leeds"


def test_a_confirmed_sale_that_somebody_deleted(whole: Harness) -> None:
    whole.print_job(mail(101), 40)
    whole.advance(minutes=31)
    assert whole.sync().ok
    sale = whole.sales()[-1]
    whole.delete("coworkerproducts", sale["Id"])
    whole.reconcile()
    cause = standing(whole)["sale deleted"]
    assert cause.title == "london: 1 confirmed sale missing in Nexudus (40 cents)"
    assert "printbridge held retry" in cause.remedy
