"""The schedule that looks, against real servers: what it asks, what it answers, and what it costs.

What belongs here: evaluations of the schedule function and the reasons it gives. What does not: the runs it asks for
(`test_sync.py`) and Dagster's daemon.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Generator
from datetime import timedelta

import dagster as dg
import pytest

from pipeline.dagster import runs
from pipeline.steps import look as looking
from tests.harness import Harness, telling
from tests.worlds import LEEDS, LONDON, PRODUCTS, credit, customer, world

SITES = ("london", "leeds")


class Look:
    """One evaluation of the schedule."""

    def __init__(self, harness: Harness, instance: dg.DagsterInstance) -> None:
        schedule = harness.defs.resolve_schedule_def("look_and_sync")
        started = time.monotonic()
        repository = harness.defs.get_repository_def()
        with dg.build_schedule_context(instance=instance, repository_def=repository) as context:
            data = schedule.evaluate_tick(context)
        self.seconds = time.monotonic() - started
        self.skipped = data.skip_message or ""
        self.requests = {request.partition_key: request for request in data.run_requests or []}

    def reason(self, site: str) -> str:
        assert site in self.requests, f"a run of {site} should have been asked for: {self.skipped or self.requests}"
        return self.requests[site].tags[runs.REASON_TAG]


@pytest.fixture(scope="module")
def pair() -> Generator[Harness, None, None]:
    """Two sites that have never run."""
    people = [
        customer(101, PaperCutPayAsYouPrint=True),
        customer(201, PaperCutPayAsYouPrint=True, InvoicingBusinessId=LEEDS),
    ]
    with telling(world(people, sites=SITES)) as running:
        yield running


@pytest.fixture(scope="module")
def harness() -> Generator[Harness, None, None]:
    """One site that is in step."""
    people = [customer(101, PaperCutPayAsYouPrint=True), customer(102), customer(103, PaperCutPayAsYouPrint=True)]
    with telling(world(people)) as running:
        assert running.sync().ok
        yield running


@pytest.fixture(scope="module")
def instance() -> Generator[dg.DagsterInstance, None, None]:
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.local_temp(folder) as made:
        yield made


def both(pair: Harness) -> None:
    for site in SITES:
        assert pair.sync(site).ok


def test_the_first_look_asks_for_every_site(pair: Harness, instance: dg.DagsterInstance) -> None:
    first = Look(pair, instance)
    assert {site: first.reason(site) for site in SITES} == dict.fromkeys(SITES, "first run")


def test_a_site_that_never_ran_to_its_end_is_not_asked_for_at_every_tick(
    pair: Harness, instance: dg.DagsterInstance
) -> None:
    pair.fault("leeds", "database", "drop_before", times=1000)
    keys = set[str | None]()
    for _ in range(4):
        assert not pair.sync("leeds", only=["print_users"]).ok, "leeds is down"
        pair.advance(minutes=2)
        keys.add(Look(pair, instance).requests["leeds"].run_key)
    assert len(keys) <= 2, f"a run that fails must be asked for every ten minutes, not at every tick: {keys}"
    pair.heal()


def test_a_quiet_look_says_why_nothing_is_done_and_costs_little(pair: Harness, instance: dg.DagsterInstance) -> None:
    both(pair)
    pair.forget_calls()
    quiet = Look(pair, instance)
    assert quiet.requests == {}, f"nothing changed, so no run: {quiet.requests}"
    assert quiet.skipped == "london: nothing changed; leeds: nothing changed", "a skipped tick must name each site"
    calls = pair.calls()
    asked = sum(number for name, number in calls["nexudus"].items() if name != "POST token")
    assert asked <= 4, f"a tick may ask Nexudus at most four times: {calls['nexudus']}"
    assert calls["sites"] == {site: {"database": 1} for site in SITES}, "a tick may ask each site one question"


def test_a_dead_server_delays_nobody_and_is_tried_again_every_ten_minutes(
    pair: Harness, instance: dg.DagsterInstance
) -> None:
    pair.print_job("c101@example.com", 20)
    pair.fault("leeds", "database", "drop_before", times=1000)
    look = Look(pair, instance)
    assert look.reason("london") == "new print jobs", "the other site must be looked at"
    assert "could not be looked at" in look.reason("leeds"), "what is wrong must be said"
    assert look.seconds < looking.LOOK_SECONDS + 5, "a dead server may not keep the tick waiting"
    assert not pair.sync("leeds").ok, "leeds is down"
    keys = set[str | None]()
    for _ in range(4):
        pair.advance(minutes=2)
        keys.add(Look(pair, instance).requests["leeds"].run_key)
    assert len(keys) <= 2, f"within ten minutes a run that failed is asked for under one key: {keys}"
    pair.heal()
    both(pair)


def test_a_print_is_read_at_once_and_charged_when_it_is_mature(harness: Harness, instance: dg.DagsterInstance) -> None:
    job = harness.print_job("c101@example.com", 30)["job_id"]
    look = Look(harness, instance)
    assert set(look.requests) == {"london"}, "only the site with the print has a reason"
    assert look.reason("london") == "new print jobs"
    assert harness.sync().ok
    assert Look(harness, instance).requests == {}, "a job that is not mature is no reason for a run"
    harness.advance(minutes=31)
    assert Look(harness, instance).reason("london") == "jobs have become mature"
    assert harness.sync().ok
    assert str(job) in harness.events(), "the run after maturity must charge the job"
    harness.sync()
    assert Look(harness, instance).requests == {}, "a charged job must be no reason again"


def test_a_suspended_customer_is_a_reason_and_gone_after_the_run(
    harness: Harness, instance: dg.DagsterInstance
) -> None:
    harness.edit("coworkers", 103, Active=False)
    look = Look(harness, instance)
    assert look.reason("london") == "customers changed in Nexudus"
    assert harness.sync().ok
    assert "c103@example.com" not in harness.users(), "a suspended customer must leave PaperCut with the next run"
    assert Look(harness, instance).requests == {}


@pytest.mark.parametrize("meaning", ["0asc_1desc", "1asc_-1desc", "numbers_only", "numbers_only_400"])
def test_a_look_sees_a_change_and_nothing_else_whatever_nexudus_makes_of_a_direction(
    harness: Harness, instance: dg.DagsterInstance, meaning: str
) -> None:
    harness.switch(dir_meaning=meaning)
    assert harness.sync().ok
    assert Look(harness, instance).requests == {}
    harness.edit("coworkers", 102, FullName=f"Ann {meaning}")
    assert Look(harness, instance).reason("london") == "customers changed in Nexudus"
    assert harness.sync().ok
    assert Look(harness, instance).requests == {}


def test_a_record_that_cannot_be_read_is_no_reason_for_ever(harness: Harness, instance: dg.DagsterInstance) -> None:
    harness.add("coworkers", customer(150, Email=7, UpdatedOn="soon"))
    for _ in range(2):
        assert harness.sync().ok
        assert Look(harness, instance).requests == {}
    harness.delete("coworkers", 150)
    assert Look(harness, instance).reason("london") == "customers changed in Nexudus"
    assert harness.sync().ok
    assert Look(harness, instance).requests == {}


def test_a_credit_that_expires_is_a_reason(harness: Harness, instance: dg.DagsterInstance) -> None:
    soon = harness.sites.clock() + timedelta(minutes=20)
    harness.add("coworkerextraservices", credit(402, 102, 50, ExpireDate=f"{soon:%Y-%m-%dT%H:%M:%SZ}"))
    assert Look(harness, instance).reason("london") == "credits changed in Nexudus"
    assert harness.sync().ok
    assert harness.users()["c102@example.com"]["balance"] == 50
    harness.advance(minutes=21)
    assert Look(harness, instance).reason("london") == "1 credits expired or became valid"
    assert harness.sync().ok
    assert harness.users()["c102@example.com"]["balance"] == 0, "an expired credit must not be printed with"
    assert Look(harness, instance).requests == {}


def test_many_printing_credits_cost_a_quiet_look_no_more_and_none_is_overlooked(instance: dg.DagsterInstance) -> None:
    number = "coworkerextraservices"
    held = [credit(401, 102, 50), credit(402, 102, 50, ExtraServiceId=32), credit(403, 102, 5, ExtraServiceId=90)]
    given = world([customer(102)], held)
    services = given["nexudus"]["extraservices"]
    services += [{**services[0], "Id": 32}, {**services[0], "Id": 90, "IsPrintingCredit": False}]
    with telling(given) as harness:
        harness.reconfigure({"credit_ids = [31]": "credit_ids = [31, 32, 33, 34, 35]"})

        def asked() -> dict[str, int]:
            harness.forget_calls()
            assert Look(harness, instance).requests == {}
            return {name: n for name, n in harness.calls()["nexudus"].items() if name != "POST token"}

        quiet, first = ({"GET coworkers": 2, f"GET {number}": asked_for} for asked_for in (2, 2 + 2 * 5))
        harness.advance(minutes=11)
        assert harness.sync().ok
        assert asked() == first, "the first look knows nothing yet"
        assert asked() == quiet, "two requests tell that no credit has changed"
        harness.edit(number, 403, RemainingUses=4)
        assert asked() == first, "a credit that is not for printing is no reason"
        harness.edit(number, 402, RemainingUses=40)
        assert Look(harness, instance).reason("london") == "credits changed in Nexudus", "in the very same second"
        assert Look(harness, instance).reason("london") == "credits changed in Nexudus", "until a run has read it"
        assert harness.sync().ok
        harness.advance(minutes=11)
        asked()
        assert asked() == quiet


def test_a_complete_read_is_due_every_hour(harness: Harness, instance: dg.DagsterInstance) -> None:
    harness.advance(minutes=61)
    assert Look(harness, instance).reason("london") == "a complete read of Nexudus is due"
    assert harness.sync().ok


def test_a_hanging_server_delays_the_tick_no_longer_than_the_limit(
    harness: Harness, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "LOOK_SECONDS", 1.0)
    harness.fault("nexudus", "*", "delay", times=1, seconds=4)
    look = Look(harness, instance)
    harness.heal()
    assert look.seconds < 3, f"the tick took {look.seconds:.1f} s: the look at Nexudus needs a limit too"
    assert "took more than 1 s" in look.reason("london")
    assert harness.sync().ok


def test_what_waits_for_a_person_is_no_reason_for_a_run(harness: Harness, instance: dg.DagsterInstance) -> None:
    job = harness.print_job("c101@example.com", 88)["job_id"]
    harness.advance(minutes=31)
    harness.edit("products", PRODUCTS[LONDON], Price=0.03)
    assert not harness.sync().ok, "a wrong price must stop the run before anything is sent"
    harness.edit("products", PRODUCTS[LONDON], Price=0.01)
    harness.delete("coworkers", 101)
    harness.sync(only=["print_jobs", "print_charges", "nexudus_print_charges"])
    assert harness.events()[str(job)] == ["sale 88 held"], "Nexudus should have refused a sale of nobody"
    harness.refund(job)
    for _ in range(2):
        assert harness.sync().ok
    assert harness.events()[str(job)] == ["sale 88 held", "undo_sale 88 priced"]
    assert Look(harness, instance).requests == {}, "a reversal that waits for a person must not start runs"


def test_a_site_with_a_run_in_progress_is_not_asked_for(harness: Harness, instance: dg.DagsterInstance) -> None:
    harness.print_job("staff", 10)
    job = harness.defs.resolve_job_def("sync_site")
    run = instance.create_run_for_job(
        job, status=dg.DagsterRunStatus.STARTED, tags={"dagster/partition": "london"}, asset_selection=None
    )
    try:
        assert Look(harness, instance).skipped.startswith("london: a run is in progress"), "one run of a site at a time"
    finally:
        instance.delete_run(run.run_id)


def test_dry_run_mode_looks_at_rest_and_switching_it_off_is_a_reason(instance: dg.DagsterInstance) -> None:
    people = [customer(101, PaperCutPayAsYouPrint=True)]
    with telling(world(people)) as harness:
        harness.reconfigure({"[nexudus]": 'mode = "dry_run"\n[nexudus]'})
        harness.forget_calls()
        assert harness.sync().ok
        assert harness.writes() == {}, "a dry run may not write"
        assert Look(harness, instance).requests == {}, "a dry run that ended has nothing more to do"
        harness.reconfigure({'mode = "dry_run"': 'mode = "apply"'})
        assert Look(harness, instance).requests, "after going live the plan must be carried out"
        assert harness.sync().ok
        assert "c101@example.com" in harness.users()
