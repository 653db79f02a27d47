"""One run of a site on ezeep, from the customer in Nexudus to the user, and from the page to the sale.

What belongs here: the rules Z1 to Z10 (`rules.md` 10) through the whole run. What does not: the wire
(`tests/services/ezeep`), and the plan by itself (`tests/domain/people`).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.operations import adopt
from pipeline.operations.causes import causes
from pipeline.operations.doctor import examine
from pipeline.operations.explain import stories
from pipeline.operations.recover import recover_site
from pipeline.store import invitations
from pipeline.store.sql import read
from tests.harness import Harness, running
from tests.worlds import Json, credit, ezeep_world, mail, printer_customer

SITE = "lisbon"
STAFF = "admin@example.com"


@contextmanager
def lisbon(
    folder: Path, people: list[Json], credits_: list[Json] | None = None, *, users: list[Json] | None = None,
    invite: str = "automatic", removal: str = "delete", **settings: Any,
) -> Generator[Harness, None, None]:  # fmt: skip
    """A site on ezeep; people are invited by themselves unless it is said otherwise."""
    section = {"invite": invite, "removal": removal}
    given = {SITE: {"ezeep": section, "maturity_minutes": 0, **settings}}
    with running(folder, ezeep_world(people, credits_, users=users), sites=given) as harness:
        yield harness


def synced(harness: Harness, **tags: str) -> None:
    """A run that works, and two minutes later."""
    outcome = harness.sync(SITE, checks=True, **tags)
    assert outcome.ok, outcome.failures
    harness.advance(minutes=2)


def rested(harness: Harness) -> None:
    """A run that plans nothing, and writes to nobody."""
    harness.forget_calls()
    synced(harness)
    with harness.sites.store.connect() as con:
        plan = read(con, "user_sync_plan", SITE).filter(action="update")
    assert plan.is_empty(), plan
    assert harness.writes() == {}


def printed(harness: Harness, number: int, pages: int = 2, **fields: Any) -> str:
    """A job of a customer who has logged in; its id in ezeep."""
    body = {"site": SITE, "username": mail(number), "printer": "Front", "pages": pages, "color_pages": 0, "paper": "A4"}
    return harness.control.post("print", json=body | fields).raise_for_status().json()["job_id"]


def charged(harness: Harness) -> None:
    """A new report, and a run that charges what it says."""
    harness.advance(minutes=1)
    harness.report(SITE)
    synced(harness)


def groups(harness: Harness, number: int) -> Sequence[str]:
    """The groups of a customer's user."""
    return harness.users(SITE)[mail(number)]["groups"]


def totals(harness: Harness) -> list[float]:
    """What the sales in Nexudus come to, in money."""
    return sorted(float(sale["Quantity"]) / 100 for sale in harness.sales())


def asked_for(harness: Harness) -> list[int]:
    """The customers whom a person asked to be invited."""
    with harness.sites.store.connect() as con:
        return invitations.asked(con, SITE, harness.sites.clock())["coworker_id"].to_list()


# --- users ------------------------------------------------------------------------------------------------------------


def test_nobody_is_invited_until_a_person_asks_and_then_only_whom_they_name(folder: Path) -> None:
    """Z3, Z4."""
    people = [printer_customer(1), printer_customer(2), printer_customer(3, EzeepBluePrintingEnabled=False)]
    with lisbon(folder, people, invite="by_hand") as harness:
        synced(harness)
        assert harness.users(SITE).keys() == {STAFF}
        at = harness.sites.clock()
        harness.sites.store.commit(lambda con: invitations.ask(con, SITE, [1, 3], operator="test", at=at))
        synced(harness)
        user = harness.users(SITE)[mail(1)]
        assert harness.users(SITE).keys() == {STAFF, mail(1)}, "2 was not asked for, 3 may not print"
        assert (user["first_name"], user["last_name"], user["groups"]) == ("Customer", "1", ["printbridge"])
        assert harness.state()["sites"][SITE]["mails"] == {mail(1): 1}
        rested(harness)


def test_what_a_person_asked_for_counts_for_a_day(folder: Path) -> None:
    with lisbon(folder, [printer_customer(1)], invite="by_hand") as harness:
        at = harness.sites.clock()
        harness.sites.store.commit(lambda con: invitations.ask(con, SITE, [1], operator="test", at=at))
        harness.advance(days=1, minutes=1)
        synced(harness)
        assert harness.users(SITE).keys() == {STAFF}


def test_one_run_invites_everybody_who_waits_when_it_is_asked_to(folder: Path) -> None:
    """The seed's *Update eZeep*, as one click in the UI."""
    with lisbon(folder, [printer_customer(1), printer_customer(2)], invite="by_hand") as harness:
        outcome = harness.run(SITE, "invite_customers")
        assert outcome.ok, outcome.failures
        assert harness.users(SITE).keys() == {STAFF, mail(1), mail(2)}
        assert asked_for(harness) == [1, 2]


def test_a_run_that_invites_asks_for_nobody_where_everybody_is_invited_anyway(folder: Path) -> None:
    with lisbon(folder, [printer_customer(1)]) as harness:
        assert harness.run(SITE, "invite_customers").ok
        assert harness.users(SITE).keys() == {STAFF, mail(1)}
        assert asked_for(harness) == []


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"Active": False}, "suspended for any reason"),
        ({"Archived": True, "Active": False}, "archived"),
        ({"EzeepBluePrintingEnabled": False}, "printing switched off on the account"),
    ],
)
def test_a_user_goes_with_the_access_and_no_foreign_user_ever(folder: Path, values: Json, why: str) -> None:
    """Z6."""
    other = {"email": "guest@example.com", "first_name": "Gus", "last_name": "T", "is_verified": True}
    with lisbon(folder, [printer_customer(1), printer_customer(2)], users=[other]) as harness:
        synced(harness)
        harness.edit("coworkers", 1, **values)
        synced(harness)
        assert harness.users(SITE).keys() == {STAFF, "guest@example.com", mail(2)}, why


def test_a_deleted_customer_is_asked_for_by_id_before_the_user_goes(folder: Path) -> None:
    with lisbon(folder, [printer_customer(1), printer_customer(2)]) as harness:
        synced(harness)
        harness.delete("coworkers", 1)
        harness.advance(minutes=61)
        synced(harness)
        assert harness.users(SITE).keys() == {STAFF, mail(2)}


def test_a_site_may_take_leavers_out_of_the_group_only_and_lets_them_in_again(folder: Path) -> None:
    with lisbon(folder, [printer_customer(1), printer_customer(2)], removal="group") as harness:
        synced(harness)
        harness.edit("coworkers", 1, Active=False)
        synced(harness)
        assert (groups(harness, 1), groups(harness, 2)) == ([], ["printbridge"])
        rested(harness)
        harness.edit("coworkers", 1, Active=True)
        synced(harness)
        assert groups(harness, 1) == ["printbridge"]


def test_an_address_that_has_a_user_is_left_alone_until_it_is_adopted(folder: Path) -> None:
    other = {"email": mail(1), "first_name": "Some", "last_name": "Body", "is_verified": True, "groups": ["staff"]}
    with lisbon(folder, [printer_customer(1)], users=[other]) as harness:
        synced(harness)
        assert groups(harness, 1) == ["staff"]
        assert harness.state()["sites"][SITE]["mails"] == {}


def test_an_email_that_changes_renames_the_user_who_keeps_the_login(folder: Path) -> None:
    with lisbon(folder, [printer_customer(1)]) as harness:
        synced(harness)
        harness.accept(mail(1))
        before = harness.users(SITE)[mail(1)]["id"]
        harness.edit("coworkers", 1, Email="New.Name@example.com", FullName="Ana Maria  Silva")
        synced(harness)
        user = harness.users(SITE)["new.name@example.com"]
        assert (user["id"], user["first_name"], user["last_name"]) == (before, "Ana", "Maria Silva")
        rested(harness)


def test_a_flag_that_nexudus_does_not_tell_gives_and_takes_nothing(folder: Path) -> None:
    people = [printer_customer(1), printer_customer(2), printer_customer(3)]
    with lisbon(folder, people) as harness:
        synced(harness)
        harness.edit("coworkers", 1, EzeepBluePrintingEnabled=None)
        harness.edit("coworkers", 2, EzeepBlueFreePrinting="perhaps")
        harness.add("coworkers", printer_customer(4, EzeepBluePrintingEnabled=None))
        synced(harness)
        assert harness.users(SITE).keys() == {STAFF, mail(1), mail(2), mail(3)}


@pytest.mark.parametrize("action", ["drop_after", "late_commit", "drop_before"])
def test_an_invitation_without_an_answer_sends_no_second_mail(folder: Path, action: str) -> None:
    with lisbon(folder, [printer_customer(1)]) as harness:
        harness.fault(SITE, "POST userinvitations", action, **({"seconds": 90} if action == "late_commit" else {}))
        harness.sync(SITE)
        harness.advance(minutes=2)
        for _ in range(2):
            harness.sync(SITE)
            harness.advance(minutes=2)
        assert harness.state()["sites"][SITE]["mails"] == {mail(1): 1}
        assert groups(harness, 1) == ["printbridge"]


def test_other_groups_of_a_user_stay(folder: Path) -> None:
    """A list of groups replaces the one before, so ours is added to what is there (`ezeep-api.md` 3.4)."""
    with lisbon(
        folder,
        [
            printer_customer(
                1,
            )
        ],
        pricing_model="credits_only",
        charge_product_id=None,
    ) as harness:
        harness.add("coworkerextraservices", credit(901, 1, 5))
        synced(harness)
        system = harness.sites[SITE].printing
        client: Any = system
        group = client.client.make_group("staff", harness.ready["sites"][SITE]["organization_id"])
        user = harness.users(SITE)[mail(1)]["id"]
        client.client.set_groups(
            user, [*(each["id"] for each in client.client.groups() if each["name"] == "printbridge"), group]
        )
        harness.edit("coworkerextraservices", 901, RemainingUses=0)
        synced(harness)
        assert groups(harness, 1) == ["staff"], "without credit out of our group, and of no other"
        harness.edit("coworkerextraservices", 901, RemainingUses=5)
        synced(harness)
        assert sorted(groups(harness, 1)) == ["printbridge", "staff"]


# --- jobs and money ---------------------------------------------------------------------------------------------------


def test_w11_credits_that_do_not_cover_the_whole_job_stay_and_the_whole_job_is_money(folder: Path) -> None:
    """Z7, `rules.md` W11: 20 credits of pages, 5 left: $0.20 is charged, and 5 stay."""
    with lisbon(folder, [printer_customer(1)], [credit(901, 1, 5)]) as harness:
        synced(harness)
        harness.accept(mail(1))
        printed(harness, 1, pages=4)
        charged(harness)
        assert totals(harness) == [0.20]
        assert harness.credits() == {901: 5}


def test_credits_that_cover_the_whole_job_pay_it_and_a_free_customer_pays_nothing(folder: Path) -> None:
    people = [printer_customer(1), printer_customer(2, EzeepBlueFreePrinting=True)]
    with lisbon(folder, people, [credit(901, 1, 20)]) as harness:
        synced(harness)
        for number in (1, 2):
            harness.accept(mail(number))
            printed(harness, number, pages=4)
        charged(harness)
        assert totals(harness) == []
        assert harness.credits() == {901: 0}
        assert sorted(harness.events(SITE).values()) == [["credit 20 confirmed"], ["waive 20 confirmed"]]


def test_a_page_without_a_price_is_held_and_charged_once_it_has_one(folder: Path) -> None:
    prices = [{"credits_per_page": 5, "colour": False}]
    with lisbon(folder, [printer_customer(1)], prices=prices) as harness:
        synced(harness)
        harness.accept(mail(1))
        printed(harness, 1, pages=3, color_pages=3)
        charged(harness)
        assert list(harness.events(SITE).values()) == [["sale 0 held"]]
        harness.reconfigure(
            {"[sites.lisbon.jobs]": "[[sites.lisbon.prices]]\ncredits_per_page = 25\n[sites.lisbon.jobs]"}
        )
        synced(harness)
        synced(harness)
        assert totals(harness) == [0.75]


def test_a_job_without_a_price_gets_one_also_when_its_report_is_gone(folder: Path) -> None:
    with lisbon(folder, [printer_customer(1)], prices=[{"credits_per_page": 5, "paper": "A3"}]) as harness:
        synced(harness)
        harness.accept(mail(1))
        printed(harness, 1, pages=3)
        charged(harness)
        assert list(harness.events(SITE).values()) == [["sale 0 held"]]
        (report,) = Path(harness.ready["sites"][SITE]["reports_folder"]).iterdir()
        report.with_name("later.csv").write_text(report.read_text("utf-8").splitlines()[0] + "\n", "utf-8")
        report.unlink()
        harness.reconfigure({"credits_per_page = 5": "credits_per_page = 7", 'paper = "A3"': ""})
        for _ in range(2):
            synced(harness)
        assert totals(harness) == [0.21]


def test_a_job_keeps_the_price_that_held_when_it_was_printed(folder: Path) -> None:
    with lisbon(folder, [printer_customer(1)], maturity_minutes=30) as harness:
        synced(harness)
        harness.accept(mail(1))
        printed(harness, 1, pages=2)
        charged(harness)
        harness.reconfigure({"credits_per_page = 5": "credits_per_page = 50"})
        synced(harness)
        printed(harness, 1, pages=1)
        charged(harness)
        harness.advance(minutes=40)
        synced(harness)
        assert totals(harness) == [0.10, 0.50]


def test_reports_that_overlap_charge_a_job_once(folder: Path) -> None:
    with lisbon(folder, [printer_customer(1)]) as harness:
        synced(harness)
        harness.accept(mail(1))
        printed(harness, 1, pages=2)
        harness.report(SITE, name="first.csv")
        printed(harness, 1, pages=2, printer="Back")
        harness.report(SITE, name="second.csv", delimiter=";")
        synced(harness)
        synced(harness, **{"printbridge/reread_days": "45"})
        assert totals(harness) == [0.10, 0.10]


def test_a_report_without_emails_charges_nobody_and_says_why(folder: Path) -> None:
    with lisbon(folder, [printer_customer(1)]) as harness:
        synced(harness)
        harness.accept(mail(1))
        printed(harness, 1)
        harness.report(SITE, blank_email=True)
        outcome = harness.sync(SITE, checks=True)
        assert outcome.ok, outcome.failures
        assert totals(harness) == []
        assert any("user_email_blank" in text for text in outcome.findings), outcome.findings


def test_a_site_on_ezeep_reconciles_to_nothing(folder: Path) -> None:
    with lisbon(folder, [printer_customer(1), printer_customer(2)], [credit(901, 1, 20)]) as harness:
        synced(harness)
        for number in (1, 2):
            harness.accept(mail(number))
            printed(harness, number, pages=4)
        charged(harness)
        outcome = harness.reconcile(site=SITE)
        assert outcome.ok, outcome.failures
        assert outcome.metadata["reconciliation"]["unexplained_cents"] == 0


def test_a_lost_warehouse_charges_nothing_again_and_takes_its_users_back(folder: Path) -> None:
    with lisbon(folder, [printer_customer(1), printer_customer(2)]) as harness:
        synced(harness)
        harness.accept(mail(1))
        printed(harness, 1, pages=4)
        charged(harness)
        assert totals(harness) == [0.20]
        harness.sites.close()
        for path in harness.state_folder.warehouse.parent.glob("warehouse*"):
            path.unlink()
        harness.reconfigure()
        synced(harness)
        assert totals(harness) == [0.20], "the users are nobody's for this warehouse, and so are their jobs"
        assert any("printbridge adopt" in sentence for sentence in recover_site(harness.sites[SITE], "test"))
        found = adopt.survey(harness.sites[SITE])
        adopt.carry_out(harness.sites[SITE], found.filter(pl.col("refusal").is_null()).to_dicts())
        harness.resume(SITE, "charges")
        for _ in range(3):
            synced(harness)
        assert totals(harness) == [0.20]
        rested(harness)


def test_what_doctor_and_explain_say_of_a_site_in_order_asks_for_nothing(folder: Path) -> None:
    with lisbon(folder, [printer_customer(1)]) as harness:
        synced(harness)
        harness.accept(mail(1))
        printed(harness, 1, pages=4)
        charged(harness)
        wrong = [each for each in examine(harness.sites[SITE]) if each.status == "fail" or "mark" in each.seen]
        assert wrong == []
        assert causes(harness.sites, []) == []
        (story,) = stories([harness.sites[SITE]], mail(1))
        said = " ".join(story.sentences)
        assert "may print with ezeep" in said
        assert "ezeep had it in the group of the site" in said
        assert "balance" not in said
