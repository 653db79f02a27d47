"""Jobs of guests and unknown users: listed, given to a customer and charged by what held when printed, or waived.

The oracle is what Nexudus holds, and that the day still reconciles.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

from pipeline.errors import ConfigError, MissingError, UnsafeError
from pipeline.operations import held
from pipeline.operations.causes import causes
from tests.commands import printbridge
from tests.harness import Harness, telling
from tests.worlds import credit, customer, world


@pytest.fixture(scope="module")
def whole() -> Generator[Harness, None, None]:
    people = [
        customer(101, PaperCutPayAsYouPrint=True), customer(102, PaperCutPayAsYouPrint=True), customer(103),
        customer(104, Archived=True),
    ]  # fmt: skip
    with telling(world(people, [credit(403, 103, 100)], sites=("london", "leeds")), customers="all") as harness:
        harness.advance(minutes=1)
        for site in ("london", "leeds"):
            assert harness.sync(site).ok
        yield harness


@pytest.fixture
def harness(whole: Harness) -> Generator[Harness, None, None]:
    yield whole
    for site in ("london", "leeds"):
        assert whole.sync(site).ok
        assert whole.reconcile(site=site).metadata["reconciliation"]["unexplained_cents"] == 0
    assert causes(whole.sites, []) == []


def printed(harness: Harness, cost: int, site: str = "london", username: str = "staff") -> str:
    """A mature job, seen by a run."""
    job = harness.print_job(username, cost, site=site)["job_id"]
    harness.advance(minutes=31)
    assert harness.sync(site).ok
    return str(job)


def sold(harness: Harness) -> list[tuple[int, int]]:
    return sorted((sale["CoworkerId"], sale["Quantity"]) for sale in harness.sales())


def assign(harness: Harness, *wanted: str, to: int | None, only: str | None = None) -> None:
    held.assign(harness.sites, wanted, to, reason="a test", operator="test", only=only)


def test_a_guests_job_is_listed_assigned_by_the_command_and_charged_once(harness: Harness) -> None:
    job = printed(harness, 44)
    before = sold(harness)
    listed = printbridge("held", "list", "--json").document
    assert (listed["held"], [row["job_id"] for row in listed["jobs"]]) == ([], [job])
    row = listed["jobs"][0]
    assert (row["site"], row["username"], row["cost"], row["why"]) == ("london", "staff", "44", "never ours")
    assert f"{job}  " in (shown := printbridge("held", "list", "--site", "london").out)
    assert "printbridge held assign JOB --customer ID" in shown
    said = printbridge("held", "assign", job, "--customer", "101", "--site", "london")
    assert said.out == f"{job}: Now of customer 101. The next run charges them.\n"
    assert printbridge("held", "list", "--json").document["jobs"] == [], "it is decided"
    assert sold(harness) == before, "the command itself charges nothing"
    for _ in range(2):
        assert harness.sync().ok
    assert sold(harness) == sorted([*before, (101, 44)])
    told = printbridge("explain", job).out
    assert "assigned to customer 101" in told


def test_the_jobs_of_nobody_are_shown_site_by_site_until_a_person_decides(harness: Harness) -> None:
    harness.papercut("addNewSharedAccount", "Office")
    harness.print_job("staff", 7, shared_account="Office")  # of no person, and no person is asked whose it is
    here, there = printed(harness, 9), printed(harness, 8, site="leeds")
    london, leeds = harness.sites["london"], harness.sites["leeds"]
    shown = [(row["site"], row["job_id"], row["cost"]) for row in held.ownerless([london, leeds])]
    assert shown == [("london", here, 9), ("leeds", there, 8)]
    assign(harness, here, to=None, only="london")
    assert [row["job_id"] for row in held.ownerless([london, leeds])] == [there]
    assert held.ownerless([london]) == []
    assign(harness, there, to=None, only="leeds")


def test_an_assigned_job_is_paid_with_the_credits_of_its_customer(harness: Harness) -> None:
    job, left, before = printed(harness, 30), harness.credits()[403], sold(harness)
    assign(harness, job, to=103, only="london")
    assert harness.sync().ok
    assert (harness.credits()[403], sold(harness)) == (left - 30, before)


def test_it_is_charged_by_what_held_when_it_was_printed(harness: Harness) -> None:
    harness.edit("coworkers", 102, PaperCutFreePrinting=True)
    harness.advance(minutes=1)
    assert harness.sync().ok
    job = printed(harness, 21)
    harness.edit("coworkers", 102, PaperCutFreePrinting=False)
    harness.advance(minutes=1)
    assert harness.sync().ok
    before = sold(harness)
    assign(harness, job, to=102, only="london")
    assert harness.sync().ok
    assert (harness.events()[job], sold(harness)) == (["waive 21 confirmed"], before), "free when it was printed"


def test_waived_is_charged_to_nobody_and_told_no_more(harness: Harness) -> None:
    job, before = printed(harness, 17), sold(harness)
    code = printbridge("held", "assign", job, "--waive", code=2).code
    assert code == 2, "a reason is needed"
    done = printbridge("held", "assign", job, "--waive", "--reason", "a visitor", "--json").document
    assert (done["waived"], done["customer"], [each["job_id"] for each in done["jobs"]]) == (True, None, [job])
    assert harness.sync().ok
    assert (sold(harness), harness.events().get(job)) == (before, None)
    told = printbridge("explain", job).out
    assert "waived" in told
    assert "a visitor" in told


def test_a_look_asks_for_the_run_that_charges_it(harness: Harness) -> None:
    from pipeline.steps.look import Looker

    job = printed(harness, 12)
    assert harness.sync().ok
    assert Looker(harness.sites).look(harness.sites.clock())["london"].reason is None
    assign(harness, job, to=101, only="london")
    assert Looker(harness.sites).look(harness.sites.clock())["london"].reason == "jobs have become mature"


def test_jobs_of_the_same_number_at_two_sites_need_the_site(harness: Harness) -> None:
    here, job = printed(harness, 6), printed(harness, 5, site="leeds")
    assert int(job) <= int(here), "each server counts from 1"
    with pytest.raises(ConfigError, match=rf"The sites london, leeds each have a job {job}"):
        assign(harness, job, to=101)
    assign(harness, job, to=102, only="leeds")
    assert harness.sync("leeds").ok
    assert (102, 5) in sold(harness)
    assign(harness, here, to=None, only="london")


def test_what_may_not_be_assigned_is_refused_with_the_reason(harness: Harness) -> None:
    mine = printed(harness, 9, username="c101@example.com")
    guests = printed(harness, 8)
    before = sold(harness)
    refused = {
        (mine, 102): (UnsafeError, rf"Job {mine} of site london has lines in the ledger"),
        ("999999", 101): (MissingError, "No job 999999 is in the log of london"),
        (guests, 999): (ConfigError, "Customer 999 was not in Nexudus"),
        (guests, 104): (ConfigError, "Customer 104 is archived"),
    }
    for (job, to), (error, text) in refused.items():
        with pytest.raises(error, match=text):
            assign(harness, job, to=to, only="london")
    with pytest.raises(UnsafeError):
        assign(harness, guests, mine, to=101, only="london")
    assert harness.sync().ok
    assert sold(harness) == before, "all of them or none"
    harness.refund(int(guests))
    harness.sync(**{"printbridge/reread_days": "45"})
    with pytest.raises(UnsafeError, match="is no chargeable job without an owner"):
        assign(harness, guests, to=101, only="london")
