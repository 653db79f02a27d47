"""Rules of money safety, one by one, on real servers: each names what may never happen to a charge.

The worlds of the campaigns are used, so that lists lag and clocks are the servers'. The oracle is the servers' state.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator
from pathlib import Path

import pytest

from pipeline.dagster.runs import SYNC
from pipeline.operations.held import decide
from pipeline.operations.recover import recover_site
from pipeline.store import backup
from pipeline.store.lines import lines_in, lines_of_site
from tests.campaign import runs
from tests.campaign.crashes import GRANT, HOLDER, PAYER, Crashes, crashing
from tests.campaign.oracle import examine
from tests.harness import running
from tests.worlds import credit, customer, world


@pytest.fixture
def crashes(folder: Path) -> Generator[Crashes, None, None]:
    with crashing(folder) as given:
        yield given


def states(crashes: Crashes) -> dict[str, str]:
    """The state of every line by `job kind`."""
    with crashes.harness.sites.store.connect() as con:
        rows = lines_of_site(con, "london").select("job_id", "kind", "state").rows()
    return {f"{job_id} {kind}": state for job_id, kind, state in rows}


def charge(crashes: Crashes) -> None:
    crashes.harness.sync(only=runs.CHARGES)


def paid(crashes: Crashes) -> dict[str, int]:
    """What each customer was charged: money of 101, credits of 102."""
    sold = sum(sale["Quantity"] for sale in crashes.harness.sales())
    return {"money": sold, "credits": GRANT - sum(crashes.harness.credits().values())}


def test_the_intent_is_stored_before_the_first_byte_leaves(crashes: Crashes) -> None:
    crashes.prepare()
    assert runs.run(crashes.order(kill="before sending POST coworkerproducts 1")).killed
    assert states(crashes)["1 sale"] == "sending", (
        "a run that dies here would leave no trace of what it was about to do"
    )


@pytest.mark.parametrize("moment", ["before sending", "sent, unanswered,"])
def test_a_line_that_an_ended_run_left_in_sending_is_charged_once(crashes: Crashes, moment: str) -> None:
    crashes.prepare()
    assert runs.run(crashes.order(kill=f"{moment} POST coworkerproducts 1")).killed
    assert not crashes.settled()


@pytest.mark.parametrize(
    "fault", [{"action": "late_commit", "seconds": 600}, {"action": "status", "effect": True}, {"action": "truncate"}]
)
def test_a_sale_with_an_unknown_outcome_is_not_sent_again_before_it_was_looked_up(
    crashes: Crashes, fault: dict[str, object]
) -> None:
    crashes.prepare()
    crashes.harness.fault("nexudus", "POST coworkerproducts", **fault)
    charge(crashes)
    assert states(crashes)["1 sale"] == "unknown"
    for _ in range(2):
        charge(crashes)
        crashes.harness.advance(minutes=4)
    assert crashes.harness.calls()["nexudus"]["POST coworkerproducts"] == 1, "it was sent again before the settle time"
    assert not crashes.settled()


@pytest.mark.parametrize("action", ["was_successful_false", "html_200"])
def test_a_200_is_believed_only_if_it_says_what_was_made(crashes: Crashes, action: str) -> None:
    crashes.prepare()
    crashes.harness.fault("nexudus", "POST coworkerproducts", action)
    charge(crashes)
    assert states(crashes)["1 sale"] in {"held", "unknown"}
    assert not crashes.settled()


def test_a_credit_whose_read_back_fails_is_not_used_again(crashes: Crashes) -> None:
    crashes.prepare()
    crashes.harness.forget_calls()
    crashes.harness.fault("nexudus", "PUT coworkerextraservices", "delay", seconds=1)
    begun = runs.started(crashes.order())
    while not crashes.harness.calls()["nexudus"].get("PUT coworkerextraservices"):
        pass
    crashes.harness.fault("nexudus", "GET *", "throttle", times=99, style="429_text", seconds=1)
    runs.finished(begun)
    crashes.harness.heal()
    assert paid(crashes)["credits"] == 11
    assert states(crashes)["2 credit"] == "unknown", "the write was done; only its proof is missing"
    assert not crashes.settled()


def test_an_edit_of_a_credit_while_it_is_used_is_not_overwritten(crashes: Crashes) -> None:
    crashes.prepare()
    crashes.harness.forget_calls()
    crashes.harness.fault("nexudus", "GET coworkerextraservices*", "delay", seconds=2, after=2)
    begun = runs.started(crashes.order())
    while crashes.harness.calls()["nexudus"].get("GET coworkerextraservices", 0) < 3:  # the list, its total, the credit
        pass
    left = crashes.harness.credits()[401]
    crashes.harness.edit("coworkerextraservices", 401, TotalUses=GRANT + 500, RemainingUses=left + 500)
    runs.finished(begun)
    crashes.granted[102] += 500
    assert not crashes.settled()


def test_a_top_up_that_a_late_write_went_over_is_told_with_its_number(crashes: Crashes) -> None:
    crashes.prepare()
    crashes.harness.fault("nexudus", "PUT coworkerextraservices", "late_commit", seconds=600)
    charge(crashes)
    crashes.harness.advance(minutes=5)
    left = crashes.harness.credits()[401]
    crashes.harness.edit("coworkerextraservices", 401, TotalUses=GRANT + 500, RemainingUses=left + 500)
    crashes.granted[102] += 500
    crashes.harness.advance(minutes=6)  # now the write is carried out
    crashes.harness.advance(minutes=5)
    charge(crashes)
    with crashes.harness.sites.store.connect() as con:
        (line,) = lines_in(con, "london", "held").iter_rows(named=True)
    assert "was topped up by 500 meanwhile; it should have 100489, but has 99989" in line["reason"]
    assert "change what is left by 500, then confirm all lines with this reason" in line["reason"]
    crashes.harness.edit("coworkerextraservices", 401, RemainingUses=100_489)
    decide(crashes.harness.sites, [line["ref"]], "confirmed", reason="put right", operator="test")
    assert not crashes.settled()


def test_a_top_up_after_a_write_whose_answer_was_lost_needs_nobody(crashes: Crashes) -> None:
    crashes.prepare()
    crashes.harness.fault("nexudus", "PUT coworkerextraservices", "drop_after")
    charge(crashes)
    left = crashes.harness.credits()[401]
    crashes.harness.edit("coworkerextraservices", 401, TotalUses=GRANT + 500, RemainingUses=left + 500)
    crashes.granted[102] += 500
    crashes.pass_time()
    charge(crashes)
    assert states(crashes)["2 credit"] == "confirmed"
    assert not crashes.settled()


def test_two_sites_that_share_a_credit_write_to_it_one_after_the_other(folder: Path) -> None:
    people = [customer(101, PaperCutPayAsYouPrint=True), customer(102)]
    given = world(people, [credit(401, 102, GRANT)], sites=("london", "leeds"))
    with running(folder, given, customers="all") as harness:
        crashes = Crashes(harness)
        for site in ("london", "leeds"):
            assert harness.sync(site).ok
        for number in range(4):
            for site in ("london", "leeds"):
                harness.print_job(HOLDER, 30 + number, site)
            harness.advance(minutes=31)
            begun = [runs.started(crashes.order(sites=(site,))) for site in ("london", "leeds")]
            for each in begun:
                runs.finished(each)
        harness.advance(minutes=31)
        for site in ("london", "leeds"):
            runs.run(crashes.order(sites=(site,)))
        finding = examine(harness.state(), crashes.granted)
        assert not finding, f"a write of one site undid that of the other: {finding}"


# A warehouse that is lost, older, or cut short ------------------------------------------------------------------------


def lose(crashes: Crashes, aside: Path) -> None:
    crashes.harness.sites.store.path.unlink()


def put_back(crashes: Crashes, aside: Path) -> None:
    shutil.copy(aside, crashes.harness.sites.store.path)


@pytest.mark.parametrize("damage", [lose, put_back])
def test_a_lost_or_older_warehouse_charges_nothing_again(crashes: Crashes, folder: Path, damage) -> None:
    crashes.prepare()
    charge(crashes)
    aside = shutil.copy(crashes.harness.sites.store.path, folder / "yesterday")
    crashes.prepare()
    crashes.settled()
    before = paid(crashes)
    crashes.harness.advance(hours=20)
    damage(crashes, aside)
    for _ in range(3):
        outcome = crashes.harness.sync()
        crashes.harness.advance(minutes=31)
    assert paid(crashes) == before, "jobs that were charged were charged again"
    assert any("recover" in text for _, text in outcome.failures.values()), f"no clear stop: {outcome.failures}"


def test_a_restored_backup_charges_and_gives_back_nothing_twice_whatever_changed_since(
    crashes: Crashes, folder: Path
) -> None:
    """Before and after the backup: jobs paid with money and credits, refunded, made cheaper, made dearer."""
    harness, sites = crashes.harness, crashes.harness.sites
    jobs = [harness.print_job(name, 20 + n)["job_id"] for n in range(4) for name in (PAYER, HOLDER)]
    harness.advance(minutes=31)
    charge(crashes)
    made = backup.back_up(sites.store, sites.home.backups, sites.clock())
    jobs += [harness.print_job(name, 40 + n)["job_id"] for n in range(4) for name in (PAYER, HOLDER)]
    harness.advance(minutes=31)
    charge(crashes)
    for number, job in enumerate(jobs):
        if number % 8 < 2:
            harness.refund(job)
        elif number % 8 < 6:
            harness.control.post("print", json={"site": "london", "job_id": job, "cost": 10 * (number % 8)})
    assert not crashes.settled()
    before = paid(crashes)
    harness.advance(minutes=2)
    backup.restore(sites.store, made.folder, sites.names, sites.clock())
    stopped = harness.sync(only=runs.CHARGES)
    assert "first run `printbridge recover --site london`" in str(stopped.failures)
    recover_site(sites["london"], "test")
    with sites.store.connect() as con:
        held = lines_in(con, "london", "held")
    assert set(held["username"]) == {HOLDER}, "money is proved by the sales; only credits need a person"
    decide(sites, held["ref"].to_list(), "confirmed", reason="as the credits show", operator="test")
    harness.resume("london", "charges")
    for _ in range(2):
        assert harness.sync(only=runs.CHARGES).ok
        harness.advance(minutes=31)
    assert paid(crashes) == before, "recovered and confirmed, a run charged or gave back again"
    for number, job in enumerate(jobs):
        if number % 8 >= 2:
            harness.refund(job)
    harness.advance(minutes=16)
    last = harness.sync(only=runs.CHARGES)
    assert last.ok, last.failures
    assert not crashes.settled()
    assert paid(crashes) == {"money": 0, "credits": 0}


def test_sales_that_are_older_than_their_line_do_not_stop_the_look_up(crashes: Crashes) -> None:
    """A recovered line is confirmed today; its sale was made days ago, and no list since yesterday has it."""
    harness = crashes.harness
    harness.print_job(PAYER, 7)
    harness.advance(minutes=31)
    charge(crashes)
    harness.advance(days=3)
    harness.print_job(PAYER, 9)
    harness.sites.store.path.unlink()
    recover_site(harness.sites["london"], "test")
    harness.advance(minutes=31)
    outcome = harness.sync()
    assert outcome.ok, outcome.failures
    assert sorted(sale["Quantity"] for sale in harness.sales()) == [7, 9]


def test_an_older_warehouse_finds_the_sales_it_has_forgotten(crashes: Crashes, folder: Path) -> None:
    crashes.harness.print_job(PAYER, 7)
    crashes.harness.advance(minutes=31)
    charge(crashes)
    aside = shutil.copy(crashes.harness.sites.store.path, folder / "yesterday")
    crashes.harness.print_job(PAYER, 9)
    crashes.harness.advance(minutes=31)
    charge(crashes)
    crashes.harness.advance(hours=20)
    put_back(crashes, aside)
    crashes.harness.sync(only=runs.CHARGES)
    assert not crashes.settled()


def test_a_log_cut_at_any_place_charges_nothing_twice(crashes: Crashes, folder: Path) -> None:
    store = crashes.harness.sites.store.path
    log = store.with_name(store.name + ".wal")
    crashes.prepare()
    assert runs.run(crashes.order(kill="after the commit in turn 2")).killed
    if not log.exists():
        pytest.fail("the killed run left no write-ahead log, so nothing can be cut")
    crashes.harness.advance(minutes=16)
    whole, length = log.read_bytes(), log.stat().st_size
    kept = shutil.copy(store, folder / "kept")
    for share in (0.0, 0.3, 0.6, 0.95):
        shutil.copy(kept, store)
        log.write_bytes(whole[: int(length * share)])
        runs.run(crashes.order())
        assert len(crashes.harness.sales()) == 1, f"with {share:.0%} of its log the warehouse charged again"
    assert not crashes.settled()


def test_processes_that_start_at_once_charge_once(crashes: Crashes) -> None:
    for number in (2, 4):
        crashes.prepare()
        begun = [runs.started(crashes.order()) for _ in range(number)]
        for each in begun:
            runs.finished(each)
    assert not crashes.settled()


# Clocks ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_clock_that_is_wrong_by_hours_loses_and_doubles_nothing(crashes: Crashes, hours: int) -> None:
    crashes.harness.advance(hours=12)
    for _ in range(2):
        crashes.prepare()
        crashes.harness.fault("nexudus", "POST coworkerproducts", "drop_after")
        runs.run(crashes.order(skew_hours=hours))
        crashes.pass_time()
    for _ in range(3):
        crashes.harness.advance(hours=6)
        runs.run(crashes.order(skew_hours=hours))
    finding = examine(crashes.harness.state(), crashes.granted)
    assert not finding, f"with a clock {hours} hours off: {finding}"


# Users ----------------------------------------------------------------------------------------------------------------


def test_a_user_who_lost_our_mark_since_the_plan_was_made_is_not_removed(crashes: Crashes) -> None:
    crashes.harness.edit("coworkers", 101, Archived=True, Active=False)
    crashes.harness.advance(minutes=61)
    assert crashes.harness.sync(only=SYNC[:-1]).ok
    crashes.harness.papercut("setUserProperty", PAYER, "notes", "kept by staff")
    crashes.harness.sync(only=SYNC[-1:])
    assert PAYER in crashes.harness.users(), "a user that no longer carries our mark was removed"
