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
from tests.harness import Harness, credit, customer, telling, world


def mail(number: int) -> str:
    return f"c{number}@example.com"


def standing(bridge: Harness) -> dict[str, Cause]:
    """The causes by kind; a kind stands once for a site."""
    found = causes(bridge.sites, [])
    kinds = {cause.kind: cause for cause in found}
    assert len(kinds) == len(found), [cause.cause for cause in found]
    return kinds


def note(bridge: Harness, site: str, name: str, *said: object) -> None:
    at = bridge.sites.clock()
    bridge.sites.store.commit(lambda con: memory.note(con, site, name, json.dumps(said), at))


@pytest.fixture(scope="module")
def whole() -> Generator[Harness, None, None]:
    people = [customer(number, PaperCutPayAsYouPrint=True) for number in range(101, 106)]
    with telling(world([*people, customer(110)], [credit(410, 110, 30)]), rounding="hold", max_credits=1000) as bridge:
        bridge.advance(minutes=1)
        assert bridge.sync().ok
        yield bridge


@pytest.fixture
def bridge(whole: Harness) -> Generator[Harness, None, None]:
    """A site with nothing that needs a person, before and after."""
    assert standing(whole) == {}
    yield whole
    whole.heal()
    whole.sync()
    assert standing(whole) == {}, "what was put right must not stand any more"


def test_many_jobs_without_an_owner_are_one_cause_with_a_count_and_examples(bridge: Harness) -> None:
    printed = [bridge.print_job("staff", 3) for _ in range(12)]
    bridge.advance(minutes=31)
    assert bridge.sync().ok
    (cause,) = standing(bridge).values()
    assert (cause.kind, cause.cause) == ("jobs without an owner", "london jobs without an owner")
    assert cause.title == "london: 12 jobs without an owner (36.00 credits): nobody is charged"
    assert (len(cause.facts), cause.facts[-1]) == (11, "And 2 more.")
    assert "printbridge held assign JOB --customer ID" in cause.remedy
    for each in printed:
        bridge.refund(each["job_id"])
    bridge.advance(minutes=31)
    bridge.sync(**{"printbridge/reread_days": "45"})


def test_a_row_of_the_log_and_a_record_that_cannot_be_read(bridge: Harness) -> None:
    note(bridge, "london", memory.JOB_PROBLEMS, "row 7 of 2026-11-02.csv: no time", "row 9: no user")
    odd = json.dumps({"117": "117: AccessPincode is no text"})
    at, where = bridge.sites.clock(), memory.problems("nexudus_customers")
    bridge.sites.store.commit(lambda con: memory.note(con, memory.ACCOUNT, where, odd, at))
    found = standing(bridge)
    assert found["unreadable jobs"].title == "london: 2 rows of the job log that cannot be read"
    assert found["unreadable jobs"].facts[0] == "row 7 of 2026-11-02.csv: no time."
    assert found["unreadable records"].facts == ("Customer 117: AccessPincode is no text.",)
    bridge.sites.store.commit(lambda con: memory.note(con, memory.ACCOUNT, where, "{}", at))


def test_a_printer_whose_jobs_cost_nothing(bridge: Harness) -> None:
    bridge.print_job(mail(101), 5, printer="p1")
    for _ in range(2):
        bridge.print_job(mail(101), 0, printer="p1")
    bridge.advance(minutes=31)
    assert bridge.sync().ok
    assert standing(bridge) == {}, "a job may cost nothing now and then"
    bridge.print_job(mail(102), 0, printer="p1")
    bridge.advance(minutes=31)
    assert bridge.sync().ok
    (cause,) = standing(bridge).values()
    assert (cause.kind, cause.facts[0][:11]) == ("printer without a price", "p1: 3 jobs ")
    bridge.print_job(mail(102), 4, printer="p1")
    bridge.advance(minutes=31)


def test_a_lost_mark_is_told_and_of_a_suspended_customer_at_once_as_urgent(bridge: Harness) -> None:
    notes = bridge.users()[mail(103)]["notes"]
    bridge.papercut("setUserProperty", mail(103), "notes", "asked for a new card")
    assert bridge.sync().ok
    (cause,) = standing(bridge).values()
    assert (cause.kind, cause.urgent) == ("mark lost", False)
    assert cause.facts == ("Customer 103: the mark is gone from the notes.",)
    assert "printbridge adopt --site london" in cause.remedy
    bridge.edit("coworkers", 103, Active=False)
    bridge.advance(minutes=1)
    assert bridge.sync().ok
    (cause,) = standing(bridge).values()
    assert (cause.kind, cause.urgent) == ("prints without right", True)
    assert cause.title == "london: 1 user can print although the customer may not: our mark is lost"
    findings = [text for text in bridge.findings() if "nothing_needs_a_person" in text]
    assert cause.title in findings[0], "the checks of the UI read the same list"
    bridge.papercut("setUserProperty", mail(103), "disabled-print", "true")
    assert bridge.sync().ok
    assert standing(bridge) == {}, "what the remedy says must end the cause"
    bridge.papercut("setUserProperty", mail(103), "disabled-print", "false")
    bridge.papercut("setUserProperty", mail(103), "notes", notes)
    bridge.edit("coworkers", 103, Active=True)
    bridge.advance(minutes=1)


def test_held_rows_of_a_plan_say_why_in_the_words_of_the_plan(bridge: Harness) -> None:
    bridge.papercut("addNewInternalUser", mail(120), "word-12345", "Somebody", mail(120), "", "")
    bridge.add("coworkers", customer(120, PaperCutPayAsYouPrint=True))
    bridge.add("coworkers", customer(121, AccessPincode="", PaperCutPayAsYouPrint=True))
    bridge.papercut("setUserProperty", mail(104), "disabled-print", "true")
    bridge.add("coworkerextraservices", credit(411, 110, 1500))
    bridge.advance(minutes=1)
    assert bridge.sync().ok
    found = standing(bridge)
    assert set(found) == {"user held: foreign name", "user held: disabled", "customer left out", "credit too large"}
    assert found["user held: foreign name"].facts[0].startswith("Customer 120: the user exists in PaperCut but is not")
    assert "printbridge adopt --site london" in found["user held: foreign name"].remedy
    assert found["user held: disabled"].facts[0].startswith("Customer 104: the user was disabled")
    assert found["customer left out"].facts == (
        "Customer 121: the customer has no PIN; set one in Nexudus under Access.",
    )
    assert found["credit too large"].facts == ("Credit 411 of customer 110: 1500.",)
    bridge.delete("coworkerextraservices", 411)
    bridge.delete("coworkers", 120)
    bridge.delete("coworkers", 121)
    bridge.papercut("setUserProperty", mail(104), "disabled-print", "false")
    bridge.advance(minutes=61)


def test_too_large_a_balance_and_no_seat(bridge: Harness) -> None:
    for number in (412, 413):
        bridge.add("coworkerextraservices", credit(number, 110, 900))
    bridge.advance(minutes=1)
    assert bridge.sync().ok
    assert set(standing(bridge)) == {"user held: too large a credit"}
    for number in (412, 413):
        bridge.delete("coworkerextraservices", number)
    bridge.add("coworkers", customer(122, PaperCutPayAsYouPrint=True))
    bridge.advance(minutes=61)
    bridge.reconfigure({"[sites.london]\n": "[sites.london]\nlicence_users = 7\n"})
    try:
        assert bridge.sync().ok
        found = standing(bridge)
        assert set(found) == {"seats", "user held: no seat"}
        assert found["user held: no seat"].facts[0].startswith("Customer 122: no licence seat")
    finally:
        bridge.reconfigure({"licence_users = 7\n": ""})
        bridge.delete("coworkers", 122)
        bridge.advance(minutes=61)


def test_a_change_that_fails_in_every_run(bridge: Harness) -> None:
    bridge.edit("coworkers", 105, FullName="Another Name")
    bridge.advance(minutes=1)
    bridge.fault("london", "api.setUser*", "status", code=500, times=100)
    bridge.sync()
    assert standing(bridge) == {}, "one refusal may be chance"
    bridge.sync()
    (cause,) = standing(bridge).values()
    assert (cause.kind, cause.title) == ("change refused", "london: 1 change of users failed in every run")
    assert cause.facts[0].startswith("update of customer 105: unknown 2 times, last: ")
    with bridge.sites.store.connect() as con:
        assert changes.failing(con, "london").height == 1


def test_a_sale_without_an_answer_at_a_site_that_takes_no_money_any_more(bridge: Harness) -> None:
    bridge.print_job(mail(102), 25)
    bridge.advance(minutes=31)
    bridge.fault("nexudus", "POST coworkerproducts", "drop_after")
    bridge.sync()
    assert bridge.events()[max(bridge.events(), key=int)] == ["sale 25 unknown"]
    model = 'pricing_model = "credits_and_pay_per_print"'
    bridge.reconfigure({model: 'pricing_model = "credits_only"'})
    try:
        cause = standing(bridge)["sale without an answer"]
        assert cause.title == "london: 1 sale on the way, but pricing_model is credits_only"
    finally:
        bridge.reconfigure({'pricing_model = "credits_only"': model})
    bridge.advance(minutes=61)
    bridge.sync()


def test_a_sale_with_a_reference_of_no_known_job(bridge: Harness) -> None:
    note(bridge, "london", memory.STRANGE, 9001, 9002)
    cause = standing(bridge)["sale of no job"]
    assert cause.facts == ("Sale 9001 in Nexudus.", "Sale 9002 in Nexudus.")
    note(bridge, "london", memory.STRANGE)


def test_a_site_that_is_not_in_the_file_any_more() -> None:
    people = [customer(101, PaperCutPayAsYouPrint=True)]
    with telling(world(people, sites=("london", "leeds")), rounding="hold", customers="all") as bridge:
        assert bridge.sync("leeds").ok
        for cost in ("2.5", "3.5"):
            bridge.print_job(mail(101), cost, site="leeds")
        bridge.advance(minutes=31)
        assert bridge.sync("leeds").ok
        text = bridge.config.read_text("utf-8")
        head, found, _ = text.partition("[sites.leeds]")
        assert found
        bridge.reconfigure({text: head})
        (cause,) = causes(bridge.sites, [])
        assert (cause.kind, cause.cause) == ("site removed", "leeds site removed")
        assert cause.facts[0] == "2 charges (7 cents) outstanding: 2 held."
        assert "printbridge site rename leeds NEW" in cause.remedy
        with bridge.sites.store.connect() as con:
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
