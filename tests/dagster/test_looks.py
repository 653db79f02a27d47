"""Looks: what the watch asks beside the schedule, what both share, and what wakes nobody.

What belongs here: looks at real servers, by the object that the schedule and the watch share. What does not: the
reasons that a look finds (`test_schedules.py`), and Dagster's daemon (`test_service.py`).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Generator
from datetime import timedelta

import dagster as dg
import pytest

from pipeline.dagster import looks as asking
from pipeline.dagster import runs
from pipeline.dagster.looks import Looks
from pipeline.dagster.runs import SYNC
from pipeline.steps import look as looking
from pipeline.steps.look import Looker
from tests.harness import Harness, telling
from tests.worlds import LEEDS, credit, customer, world

SITES = ("london", "leeds")


@pytest.fixture(scope="module")
def instance() -> Generator[dg.DagsterInstance, None, None]:
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.local_temp(folder) as made:
        yield made


@pytest.fixture(scope="module")
def pair() -> Generator[Harness, None, None]:
    """Two sites that are in step; 101 prints in London with credits, 201 in Leeds."""
    people = [
        customer(101, PaperCutPayAsYouPrint=True),
        customer(102, PaperCutPayAsYouPrint=True),
        customer(201, PaperCutPayAsYouPrint=True, InvoicingBusinessId=LEEDS),
    ]
    held = [credit(401, 101, 500), credit(402, 201, 500)]
    with telling(world(people, held, sites=SITES)) as running:
        running.reconfigure({f"[sites.{site}]": f"[sites.{site}]\nmaturity_minutes = 0" for site in SITES})
        for site in SITES:
            assert running.sync(site).ok
        yield running


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers that are not late are heard also on a machine that does other things, too."""
    monkeypatch.setattr(looking, "PATIENCE_SECONDS", 15.0)


@pytest.fixture
def looks(pair: Harness) -> Looks:
    """The looks of a code server that has just started."""
    pair.heal()
    for site in SITES:
        assert pair.sync(site).ok
    return Looks(pair.sites)


def reasons(answer: dg.SkipReason | list[dg.RunRequest]) -> dict[str | None, str]:
    """Why a run was asked for, by site."""
    return (
        {} if isinstance(answer, dg.SkipReason) else {each.partition_key: each.tags[runs.REASON_TAG] for each in answer}
    )


def said(answer: dg.SkipReason | list[dg.RunRequest]) -> str:
    assert isinstance(answer, dg.SkipReason), f"no run was expected: {reasons(answer)}"
    return answer.skip_message or ""


def quick(pair: Harness, looks: Looks, instance: dg.DagsterInstance) -> dg.SkipReason | list[dg.RunRequest]:
    """What the watch answers, as long after its last look as it needs to ask Nexudus again."""
    pair.advance(seconds=15)
    return looks.asked(instance, quick=True)


def test_a_quick_look_costs_two_requests_for_all_sites_and_one_question_to_each(
    pair: Harness, looks: Looks, instance: dg.DagsterInstance
) -> None:
    pair.forget_calls()
    assert said(looks.asked(instance, quick=True)) == "london: nothing changed; leeds: nothing changed"
    calls = pair.calls()
    asked = {name: number for name, number in calls["nexudus"].items() if name != "POST token"}
    assert asked == {"GET coworkers": 1, "GET coworkerextraservices": 1}
    assert calls["sites"] == {site: {"database": 1} for site in SITES}


def test_quick_looks_ask_nexudus_no_more_than_they_may(
    pair: Harness, looks: Looks, instance: dg.DagsterInstance
) -> None:
    pair.forget_calls()
    for _ in range(24):
        assert reasons(looks.asked(instance, quick=True)) == {}
        pair.advance(seconds=5)
    asked = sum(number for name, number in pair.calls()["nexudus"].items() if name != "POST token")
    may = 2 * pair.settings.watch_requests_per_minute
    assert may - 4 <= asked <= may, f"in two minutes {asked} requests, {may} are allowed"


def test_what_the_watch_asks_for_the_schedule_does_not_and_the_other_way_round(
    pair: Harness, looks: Looks, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.edit("coworkers", 102, FullName="Ann")
    for first, second in ((True, False), (False, True)):
        monkeypatch.setattr(asking, "ASKED_SECONDS", 30.0)
        pair.advance(seconds=15)
        assert reasons(looks.asked(instance, quick=first)) == dict.fromkeys(SITES, "customers changed in Nexudus")
        pair.advance(seconds=15)
        assert said(looks.asked(instance, quick=second)) == "london: a run was asked for; leeds: a run was asked for"
        monkeypatch.setattr(asking, "ASKED_SECONDS", 0.0)
        pair.advance(seconds=15)
        assert reasons(looks.asked(instance, quick=second)) == dict.fromkeys(SITES, "customers changed in Nexudus"), (
            "a run that never came to be is asked for again"
        )


def test_a_deleted_record_is_left_to_the_schedule(
    pair: Harness, looks: Looks, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "ASKED_SECONDS", 0.0)
    pair.advance(minutes=2)
    pair.add("coworkers", customer(150, Email="c150@example.com"))
    assert set(reasons(quick(pair, looks, instance))) == set(SITES), "a new one is seen at once"
    for site in SITES:
        pair.sync(site)
    pair.delete("coworkers", 102)
    assert reasons(quick(pair, looks, instance)) == {}
    assert set(reasons(looks.asked(instance))) == set(SITES)


def test_a_dead_server_delays_no_look_and_is_asked_less_and_less(
    pair: Harness, looks: Looks, instance: dg.DagsterInstance
) -> None:
    pair.fault("leeds", "database", "drop_before", times=1000)
    pair.print_job("staff", 5)
    pair.forget_calls()
    tries = 0
    for look in range(60):
        before, began = pair.calls()["sites"].get("leeds", {}).get("database", 0), time.monotonic()
        answer = looks.asked(instance, quick=True)
        assert time.monotonic() - began < looking.PATIENCE_SECONDS
        assert reasons(answer) == {"london": "new print jobs"}, f"look {look}: {answer}"
        tries += pair.calls()["sites"].get("leeds", {}).get("database", 0) > before
        pair.advance(seconds=10)
    assert 4 <= tries <= 7, f"asked in {tries} of 60 looks: after 10, 20, 40, 80, 160 and 320 s"
    assert "could not be looked at" in reasons(looks.asked(instance))["leeds"], (
        "the schedule asks and tells all the same"
    )
    pair.heal()


def test_a_server_that_is_dead_for_a_day_stops_no_look_and_a_clock_set_back_no_watch(
    pair: Harness, looks: Looks, instance: dg.DagsterInstance
) -> None:
    looker = Looker(pair.sites)
    pair.fault("leeds", "database", "drop_before", times=10_000)
    pair.print_job("staff", 5)
    now = pair.sites.clock()
    for _ in range(60):
        found = looker.look(now)
        assert (found["london"].reason, found["leeds"].unanswered) == ("new print jobs", True)
    pair.heal()
    assert looker.look(now, quick=True)["leeds"].quiet.startswith("it has not answered yet")
    asked = looker.look(now - timedelta(hours=2), quick=True)["leeds"]
    assert asked.quiet == "nothing changed", "a rest that ends in two hours is none"


def test_a_run_in_progress_is_no_reason_to_leave_its_site_alone(pair: Harness, looks: Looks) -> None:
    looker, now = Looker(pair.sites), pair.sites.clock()
    pair.sync(only=["print_users"])
    for _ in range(5):
        assert looker.look(now, quick=True)["london"].reason == "the last run did not finish, or was a dry run"
    assert pair.sync().ok
    pair.print_job("staff", 5)
    assert looker.look(now, quick=True)["london"].reason == "new print jobs", "at once when it has ended"


def test_who_answers_late_is_heard_by_a_later_look(
    pair: Harness, looks: Looks, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "PATIENCE_SECONDS", 0.3)
    pair.print_job("staff", 5, "leeds")
    pair.fault("leeds", "database", "delay", times=1, seconds=10)
    began = time.monotonic()
    answer = looks.asked(instance, quick=True)
    assert "leeds" not in reasons(answer)
    assert time.monotonic() - began < 8, "the others are not kept waiting"
    while "leeds" not in (found := reasons(looks.asked(instance, quick=True))):
        assert time.monotonic() - began < 60, "the answer was never heard"
        time.sleep(0.2)
    assert found["leeds"] == "new print jobs"


def test_a_failure_is_left_to_the_schedule_by_the_watch(
    pair: Harness, looks: Looks, instance: dg.DagsterInstance
) -> None:
    pair.fault("leeds", "database", "drop_before", times=1000)
    assert not pair.sync("leeds").ok
    assert "leeds: left to the schedule" in said(looks.asked(instance, quick=True))
    assert "leeds" in reasons(looks.asked(instance))
    pair.heal()


def test_the_watch_leaves_jobs_to_the_schedule_where_they_are_charged_minutes_later(
    pair: Harness, looks: Looks, instance: dg.DagsterInstance
) -> None:
    pair.reconfigure({"[sites.leeds]\nmaturity_minutes = 0": "[sites.leeds]\nmaturity_minutes = 30"})
    try:
        looks = Looks(pair.sites)
        pair.print_job("c201@example.com", 5, "leeds")
        assert "leeds: left to the schedule: new print jobs" in said(looks.asked(instance, quick=True))
        assert reasons(looks.asked(instance)) == {"leeds": "new print jobs"}
        assert pair.sync("leeds").ok
        pair.advance(minutes=31)
        assert "leeds: left to the schedule: jobs have become mature" in said(looks.asked(instance, quick=True))
        assert reasons(looks.asked(instance)) == {"leeds": "jobs have become mature"}
    finally:
        pair.reconfigure({"[sites.leeds]\nmaturity_minutes = 30": "[sites.leeds]\nmaturity_minutes = 0"})


def test_an_account_in_which_something_changes_all_the_time_has_no_run_every_few_seconds(
    pair: Harness, looks: Looks, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "RUNS_AT_ONCE", 3)
    monkeypatch.setattr(asking, "ASKED_SECONDS", 0.0)
    pair.print_job("staff", 5)
    for _ in range(3):
        assert set(reasons(quick(pair, looks, instance))) == {"london"}
    assert "london: left to the schedule after very many runs: new print jobs" in said(quick(pair, looks, instance))
    assert set(reasons(looks.asked(instance))) == {"london"}
    monkeypatch.setattr(asking, "RUNS_AN_HOUR", 3600.0)
    time.sleep(1.1)
    assert set(reasons(quick(pair, looks, instance))) == {"london"}, "after a while it may have another"


@pytest.mark.parametrize("by_watch", [True, False])
def test_a_credit_that_we_lowered_wakes_nobody_and_one_that_somebody_else_changes_wakes_all(
    pair: Harness, looks: Looks, instance: dg.DagsterInstance, *, by_watch: bool
) -> None:
    for _ in range(2):
        before = pair.credits()[401]
        pair.print_job("c101@example.com", 30)
        assert pair.sync().ok
        assert pair.credits()[401] == before - 30
        for _ in range(2):
            pair.advance(seconds=15)
            assert reasons(looks.asked(instance, quick=by_watch)) == {}, "London knows what London wrote"
    pair.edit("coworkerextraservices", 402, RemainingUses=450 - by_watch)
    pair.advance(seconds=15)
    assert reasons(looks.asked(instance, quick=by_watch)) == dict.fromkeys(SITES, "credits changed in Nexudus")


@pytest.mark.parametrize("also_before", [False, True])
def test_a_credit_that_somebody_topped_up_before_we_lowered_it_wakes_its_site(
    pair: Harness, looks: Looks, instance: dg.DagsterInstance, *, also_before: bool
) -> None:
    """The top-up comes between the read of a run and its write, so that our own write is the last change."""
    for topped_up in (False, True) if also_before else (True,):
        pair.print_job("c101@example.com", 30)
        pair.sync(only=SYNC[: SYNC.index("nexudus_print_charges")])
        if topped_up:
            left = pair.credits()[401]
            pair.advance(seconds=5)
            pair.edit("coworkerextraservices", 401, RemainingUses=left + 200, TotalUses=left + 700)
        pair.advance(seconds=5)
        pair.sync(only=SYNC[SYNC.index("nexudus_print_charges") :])
    assert pair.users()["c101@example.com"]["balance"] < pair.credits()[401]
    assert reasons(quick(pair, looks, instance))["london"] == "credits changed in Nexudus"
    assert pair.sync().ok
    assert pair.users()["c101@example.com"]["balance"] == pair.credits()[401]


def test_a_credit_that_another_site_lowered_wakes_a_site_where_its_holder_prints(instance: dg.DagsterInstance) -> None:
    people = [customer(101, PaperCutPayAsYouPrint=True), customer(102, PaperCutPayAsYouPrint=True)]
    with telling(world(people, [credit(401, 101, 500)], sites=SITES)) as both:
        both.reconfigure({
            "[sites.london]": "[sites.london]\nmaturity_minutes = 0",
            "[sites.leeds]": '[sites.leeds]\ncustomers = "all"',
        })  # fmt: skip
        for site in (*SITES, *SITES):
            assert both.sync(site).ok
        assert "c101@example.com" in both.users("leeds")
        both.print_job("c101@example.com", 30)
        assert both.sync().ok
        looks = Looks(both.sites)
        assert reasons(looks.asked(instance)) == {"leeds": "credits changed in Nexudus"}
        assert both.sync("leeds").ok
        assert both.users("leeds")["c101@example.com"]["balance"] == 470, "what is left can be printed with, no more"
        assert reasons(Looks(both.sites).asked(instance)) == {}


def test_the_watch_is_a_sensor_that_asks_and_0_seconds_switch_it_off(pair: Harness) -> None:
    sensor = pair.defs.resolve_sensor_def("watch")
    assert (sensor.minimum_interval_seconds, sensor.default_status) == (10, dg.DefaultSensorStatus.RUNNING)
    for site in SITES:
        pair.sync(site)
    pair.print_job("staff", 5)
    with (
        dg.DagsterInstance.ephemeral() as instance,
        dg.build_sensor_context(instance=instance, repository_def=pair.defs.get_repository_def()) as context,
    ):
        data = sensor.evaluate_tick(context)
    assert [each.partition_key for each in data.run_requests or []] == ["london"]
    pair.reconfigure({"[nexudus]": "watch_seconds = 0\n[nexudus]"})
    names = {each.name for each in pair.defs.get_repository_def().sensor_defs}
    assert "watch" not in names
    pair.reconfigure({"watch_seconds = 0\n": ""})
