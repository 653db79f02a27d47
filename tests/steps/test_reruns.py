"""Reruns, overlap and doubt: whatever is run again, alone or at the same moment, a job is charged once.

What belongs here: runs repeated in whole and in part, runs at the same moment, writes whose outcome is unknown, a lost
warehouse. What does not: killing processes (`tests/campaign`).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import polars as pl
import pytest

from pipeline.dagster.runs import SYNC
from pipeline.store import ledger
from pipeline.store.locks import hold
from pipeline.store.sql import Connection, read
from tests.harness import Harness, running, telling
from tests.worlds import LEEDS, Json, credit, customer, world

CHARGING = ("print_jobs", "print_charges", "nexudus_print_charges")
SITES = ("london", "leeds")


def quantities(harness: Harness) -> list[tuple[int, int]]:
    return sorted((sale["CoworkerId"], sale["Quantity"]) for sale in harness.sales())


# Again ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def done() -> Generator[Harness, None, None]:
    """A site where everything is done: users, a sale, credit use."""
    people = [customer(101, PaperCutPayAsYouPrint=True), customer(102)]
    with telling(world(people, [credit(402, 102, 100)])) as harness:
        assert harness.sync().ok
        harness.print_job("c101@example.com", 30)
        harness.print_job("c102@example.com", 40)
        harness.advance(minutes=31)
        assert harness.sync().ok
        assert harness.sync().ok
        yield harness


def truth(harness: Harness) -> Json:
    """What the servers have, without the counts of calls."""
    return {name: part for name, part in harness.state().items() if name != "calls"}


@pytest.mark.parametrize("asset", SYNC)
def test_an_asset_run_alone_after_a_complete_run_changes_nothing(done: Harness, asset: str) -> None:
    before = truth(done)
    for _ in range(2):
        done.forget_calls()
        outcome = done.sync(only=[asset])
        assert outcome.ok, f"{asset} alone must be safe: {outcome.failures}"
        assert done.writes() == {}, f"{asset} alone wrote to a service although nothing had changed"
    assert truth(done) == before


@pytest.mark.parametrize("job", ["sync_site", "reread_jobs"])
def test_a_partition_run_again_through_dagster_changes_nothing(done: Harness, job: str) -> None:
    before = truth(done)
    done.forget_calls()
    outcome = done.run(job=job)
    assert outcome.ok, outcome.failures
    assert done.writes() == {}, f"{job} run again must not write"
    assert truth(done) == before


def test_a_day_reconciled_twice_says_the_same(done: Harness) -> None:
    totals = [done.reconcile().metadata["reconciliation"] for _ in range(2)]
    assert totals[0] == totals[1]
    assert totals[0]["unexplained_cents"] == 0


def test_load_assets_alone_after_a_failed_run_finish_the_work_once(folder: Path) -> None:
    people = [customer(101, PaperCutPayAsYouPrint=True)]
    with running(folder, world(people)) as harness:
        assert harness.sync().ok
        harness.print_job("c101@example.com", 30)
        harness.add("coworkers", customer(102, PaperCutPayAsYouPrint=True))
        harness.advance(minutes=31)
        harness.fault("nexudus", "POST coworkerproducts", "throttle", times=50, seconds=0)
        failed = harness.sync()
        assert set(failed.failures) == {"nexudus_print_charges"}, f"throttled for good: {failed.failures}"
        harness.heal()
        for _ in range(2):
            assert harness.sync(only=["nexudus_print_charges"]).ok
        assert quantities(harness) == [(101, 30)], "the load asset alone must send what was decided, once"
        assert harness.sync(only=["user_sync_plan"]).ok
        for _ in range(2):
            assert harness.sync(only=["print_user_sync"]).ok, "the same plan may be applied again: it is done"
        assert "c102@example.com" in harness.users()
        harness.advance(minutes=40)
        harness.edit("coworkers", 101, FullName="New Name")
        harness.sync(only=["nexudus_customers", "print_accounts", "user_sync_plan"])
        late = harness.sync(only=["print_user_sync"])
        assert late.failures["print_user_sync"][0] == "UnsafeError", "a plan on an old observation must be refused"
        assert "sync_site" in late.failures["print_user_sync"][1], "the message must name the job to run instead"
        assert harness.sync().ok
        assert harness.users()["c101@example.com"]["full_name"] == "New Name"


# At the same moment --------------------------------------------------------------------------------------------------

RUN = """
import sys
from pipeline.dagster.outcomes import run_job
from pipeline.definitions import build_defs
from pipeline.home import prepared_home
from pipeline.configuration import load_settings

prepared_home()
defs = build_defs(load_settings())
print("ready", flush=True)
outcome = run_job(defs, "sync_site", sys.argv[1])
print(outcome.failures or "done")
"""


def test_two_runs_of_a_site_wait_for_each_other_and_two_sites_do_not(folder: Path) -> None:
    pays = {"PaperCutPayAsYouPrint": True}
    people = [customer(101, **pays), customer(102, **pays), customer(201, **pays, InvoicingBusinessId=LEEDS)]
    with running(folder, world(people, sites=SITES)) as harness:
        for site in SITES:
            assert harness.sync(site).ok
        for number, site in ((101, "london"), (102, "london"), (201, "leeds")):
            harness.print_job(f"c{number}@example.com", 30, site)
        harness.advance(minutes=31)
        with harness.sites.hold("london"):
            london = [_start("london"), _start("london")]
            for process in london:
                _wait_for_the_lock(process)
            assert harness.sync("leeds").ok, "another site must not wait"
            ended = [_end(process) for process in london if process.poll() is not None]
            assert ended == [], f"the same site must wait for its lock: {ended}"
            assert quantities(harness) == [(201, 30)], "a run that waits may not have written"
        assert [_end(process) for process in london] == ["done", "done"]
        assert quantities(harness) == [(101, 30), (102, 30), (201, 30)], "each job must be charged once"


def _wait_for_the_lock(process: subprocess.Popen[str]) -> None:
    """Until the process is ready to run, or has ended."""
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", f"the run did not start: {_end(process)}"


def _start(site: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", RUN, site]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(os.environ))


def _end(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=120)
    return output.strip()


# Doubt ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def doubtful() -> Generator[Harness, None, None]:
    """A site with a pay customer and one with credits, and services that answer badly."""
    people = [customer(101, PaperCutPayAsYouPrint=True), customer(102), customer(103, PaperCutPayAsYouPrint=True)]
    with telling(world(people, [credit(402, 102, 100_000)])) as harness:
        assert harness.sync().ok
        yield harness


FAULTS: dict[str, Json] = {
    "connection lost after the effect": {"action": "drop_after"},
    "connection lost before the effect": {"action": "drop_before"},
    "500 after the effect": {"action": "status", "code": 500, "effect": True},
    "500 before the effect": {"action": "status", "code": 500, "effect": False},
    "503 after the effect": {"action": "status", "code": 503, "effect": True},
    "half an answer": {"action": "truncate"},
    "a page of HTML with 200": {"action": "html_200"},
    "an effect long after the answer was given up": {"action": "late_commit", "seconds": 300},
    "success in HTTP and failure in the body": {"action": "was_successful_false"},
    "throttled with a text": {"action": "throttle", "style": "429_text"},
    "throttled with Retry-After": {"action": "throttle", "style": "429_retry_after"},
    "throttled as of old with 409": {"action": "throttle", "style": "409_legacy"},
}


def _charge(harness: Harness, settling: int = 1) -> None:
    """A run with a fault, then, once doubtful answers have settled, runs without one."""
    harness.advance(minutes=31)
    harness.sync(only=CHARGING)
    harness.heal()
    for _ in range(settling):
        harness.advance(minutes=16)
        outcome = harness.sync(only=CHARGING)
        assert outcome.ok, f"after the fault a run must succeed: {outcome.failures}"


@pytest.mark.parametrize("left_in", ["priced", "sending", "unknown"])
def test_a_line_that_an_ended_run_left_is_finished_by_a_run_that_has_nothing_else_to_do(
    doubtful: Harness, left_in: str
) -> None:
    job = doubtful.print_job("c101@example.com", 60)["job_id"]
    doubtful.advance(minutes=31)
    assert doubtful.sync(only=CHARGING[:2]).ok
    mover = doubtful.sites["london"].mover("ended", "dispatcher")

    def leave(con: Connection) -> None:
        planned = read(con, "print_charges", "london")
        ledger.enter(con, planned, mover)
        for state in {"priced": (), "sending": ("sending",), "unknown": ("sending", "unknown")}[left_in]:
            ledger.move(con, planned.select("ref", detail=pl.lit("a run that ended")), state, mover)

    doubtful.sites.store.commit(leave)
    for _ in range(3):
        doubtful.advance(minutes=16)
        assert doubtful.sync(only=CHARGING).ok
    assert doubtful.events()[str(job)] == ["sale 60 confirmed"]
    assert len([sale for sale in doubtful.sales() if f"print job {job} " in sale["Notes"]]) == 1


@pytest.mark.parametrize("fault", FAULTS)
def test_a_sale_with_a_doubtful_answer_is_made_once(doubtful: Harness, fault: str) -> None:
    job = doubtful.print_job("c101@example.com", 100 + list(FAULTS).index(fault))["job_id"]
    doubtful.fault("nexudus", "POST coworkerproducts", **FAULTS[fault])
    _charge(doubtful)
    made = [sale for sale in doubtful.sales() if f"print job {job} " in sale["Notes"]]
    assert len(made) == 1, f"{fault}: the job must be charged once, not {len(made)} times"
    assert doubtful.events()[str(job)] == [f"sale {made[0]['Quantity']} confirmed"]


@pytest.mark.parametrize(
    "fault",
    [
        "connection lost after the effect", "connection lost before the effect", "500 after the effect",
        "half an answer", "an effect long after the answer was given up", "throttled with Retry-After",
    ],
)  # fmt: skip
def test_credit_use_with_a_doubtful_answer_happens_once(doubtful: Harness, fault: str) -> None:
    cost, before = 10 + list(FAULTS).index(fault), doubtful.credits()[402]
    doubtful.sync(only=["nexudus_credits"])
    job = doubtful.print_job("c102@example.com", cost)["job_id"]
    doubtful.fault("nexudus", "PUT coworkerextraservices", **FAULTS[fault])
    _charge(doubtful, settling=2)
    assert doubtful.credits()[402] == before - cost, f"{fault}: the credit must be used once"
    assert doubtful.events()[str(job)] == [f"credit {cost} confirmed"]


def test_a_sale_that_nexudus_refuses_is_held_with_the_reason(doubtful: Harness) -> None:
    job = doubtful.print_job("c103@example.com", 77)["job_id"]
    doubtful.delete("coworkers", 103)
    _charge(doubtful)
    assert doubtful.events()[str(job)] == ["sale 77 held"], "a refusal must be held for a person, not tried again"
    text = next(text for text in doubtful.findings() if "nothing_is_held" in text)
    for word in ("77 cents", "Coworker: is a required field", "What to do:"):
        assert word in text, f"the check must name the line and the reason: {text}"


USER_FAULTS = [fault for fault in FAULTS.values() if fault["action"] not in ("throttle", "late_commit")]
USER_CALLS = ("api.addNewInternalUser", "api.setUserProperties", "api.adjustUserAccountBalance")


def test_users_made_with_doubtful_answers_are_whole_after_the_next_runs(folder: Path) -> None:
    numbers = range(101, 101 + len(USER_CALLS) * len(USER_FAULTS))
    held = [credit(300 + number, number, 50) for number in numbers]
    with running(folder, world([customer(number) for number in numbers], held)) as harness:
        for call in USER_CALLS:
            for fault in USER_FAULTS:
                harness.fault("london", call, **fault)
        harness.sync()
        harness.heal()
        for _ in range(2):
            harness.advance(minutes=2)
            assert harness.sync().ok
        users = harness.users()
        for number in numbers:
            user = users[f"c{number}@example.com"]
            shown = (user["balance"], user["restricted"], user["pin"], user["notes"])
            whole = (50, True, f"{10000 + number}", f"printbridge:london:{number}")
            assert shown == whole, f"customer {number} was left half made after a doubtful answer"


def test_a_pin_that_is_changed_back_after_a_doubtful_answer_is_changed_back_in_papercut(folder: Path) -> None:
    with running(folder, world([customer(101, PaperCutPayAsYouPrint=True, AccessPincode="11111")])) as harness:
        assert harness.sync().ok
        harness.edit("coworkers", 101, AccessPincode="22222")
        harness.fault("london", "api.setUserProperties", "drop_after")
        assert "no known outcome" in harness.sync().failures["print_user_sync"][1]
        assert harness.users()["c101@example.com"]["pin"] == "22222", "the fault should let the write happen"
        harness.edit("coworkers", 101, AccessPincode="11111")
        assert harness.sync().ok
        assert harness.users()["c101@example.com"]["pin"] == "11111", "a PIN in doubt must be written again"
        harness.forget_calls()
        assert harness.sync().ok
        assert harness.writes() == {}


# Lost ----------------------------------------------------------------------------------------------------------------


def test_a_lost_warehouse_stops_the_site_and_charges_nothing_again(folder: Path) -> None:
    people = [customer(101, PaperCutPayAsYouPrint=True), customer(102)]
    with running(folder, world(people, [credit(402, 102, 100)])) as harness:
        assert harness.sync().ok
        harness.print_job("c101@example.com", 30)
        harness.print_job("c102@example.com", 40)
        harness.advance(minutes=31)
        assert harness.sync().ok
        harness.state_folder.warehouse.unlink()
        for _ in range(2):
            harness.forget_calls()
            lost = harness.sync()
            assert lost.stopped, f"a warehouse that is not the one that charged must stop the run: {lost.failures}"
            assert "printbridge recover" in str(lost.failures), f"the way out must be named: {lost.failures}"
            assert harness.writes() == {}, "with a lost warehouse nothing may be written"
        assert quantities(harness) == [(101, 30)]
        assert harness.credits() == {402: 60}


def test_a_lock_that_is_not_given_back_ends_in_an_error_that_says_what_to_do(folder: Path) -> None:
    with hold(folder, "london"):
        started = time.monotonic()
        command = (
            "from pathlib import Path; from pipeline.store.locks import hold; import sys\n"
            "try:\n    hold(Path(sys.argv[1]), 'london', wait_seconds=0.2).__enter__()\n"
            "except Exception as error:\n    print(type(error).__name__, error)"
        )
        said = subprocess.run(
            [sys.executable, "-c", command, str(folder)], capture_output=True, text=True, check=True, timeout=60
        ).stdout
        for word in ("TransientError", "london", "What to do:"):
            assert word in said, f"the error must name {word!r}: {said}"
        assert time.monotonic() - started < 60
