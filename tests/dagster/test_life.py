"""Signs of life: which run is lost, since when nobody has looked, and who tells it when nothing else can.

What belongs here: real records in Dagster's storage, real locks, a real webhook. What does not: the processes of
`printbridge dev` (`test_service.py`).
"""

from __future__ import annotations

import itertools
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    GrpcServerCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    ScheduleInstigatorData,
    TickData,
    TickStatus,
)
from dagster._utils.error import SerializableErrorInfo
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.clock import system_clock
from pipeline.dagster import guard, life, runs
from pipeline.dagster.outcomes import failures, storage
from pipeline.home import Home
from pipeline.settings import Settings
from pipeline.store import memory
from pipeline.store.locks import hold, is_held, sweep
from tests.commands import PRINTBRIDGE, ROOT, printbridge
from tests.dagster.test_schedules import Look
from tests.harness import Harness, telling
from tests.sinks import WebServer, listening
from tests.worlds import customer, world

STATUS = dg.DagsterRunStatus


def later(span: timedelta) -> life.Clock:
    """The machine's clock, ahead or behind by a span."""
    return lambda: system_clock() + span


@pytest.fixture(scope="module")
def instance() -> Generator[dg.DagsterInstance, None, None]:
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.local_temp(folder) as made:
        yield made


@dg.op
def nothing() -> None:
    """Does nothing."""


@dg.job
def sync_site() -> None:
    nothing()


def run_in(instance: dg.DagsterInstance, status: dg.DagsterRunStatus) -> dg.DagsterRun:
    return instance.create_run_for_job(sync_site, status=status, tags={"dagster/partition": "london"})


# --- runs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "status", [STATUS.NOT_STARTED, STATUS.STARTING, STATUS.STARTED, STATUS.CANCELING, STATUS.SUCCESS, STATUS.FAILURE]
)
@pytest.mark.parametrize("holds", [(), ("run",), ("london",), ("run", "london"), ("killed",), ("killed", "london")])
@pytest.mark.parametrize("spans", [(0, 30, 180), (0, -7200)])
def test_a_run_is_closed_if_it_should_have_a_process_and_has_none(
    tmp_path: Path, instance: dg.DagsterInstance, *, status: dg.DagsterRunStatus, holds: tuple[str, ...],
    spans: tuple[int, ...],
) -> None:  # fmt: skip
    run = run_in(instance, status)
    own = runs.lock_of(run.run_id)
    waits = {STATUS.NOT_STARTED: 120, STATUS.STARTING: 120, STATUS.STARTED: 20, STATUS.CANCELING: 20}.get(status)
    alive = "run" in holds or holds == ("london",)
    dead = False
    try:
        with ExitStack() as names:
            for name in holds:
                if name == "killed":  # its holder was killed: the file lies about, and nobody has it
                    (tmp_path / f"{own}.lock").touch()
                else:
                    names.enter_context(hold(tmp_path, own if name == "run" else name))
            for span in spans:
                dies = bool(waits and not dead and not alive and abs(span) >= waits)
                dead = dead or dies
                closed = life.close_lost(instance, tmp_path, later(timedelta(seconds=span)))
                assert closed == ([run.run_id] if dies else []), f"{span} s after its last word"
        now = instance.get_run_by_id(run.run_id)
        assert now
        after = STATUS.CANCELED if status == STATUS.CANCELING else STATUS.FAILURE
        assert now.status == (after if dead else status)
        assert (runs.LOST_TAG in now.tags) == dead
        assert life.was_lost(instance, "london") == (run.run_id if dead else None)
    finally:
        instance.delete_run(run.run_id)


def test_a_name_is_held_while_its_process_lives(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "none", "london")
    with hold(tmp_path, "london"):
        assert is_held(tmp_path, "london")
        assert not is_held(tmp_path, "leeds")
    assert not is_held(tmp_path, "london")
    holder = subprocess.Popen(
        [PRINTBRIDGE[0], "-c", "import sys; from pathlib import Path; from pipeline.store.locks import hold\n"
         "with hold(Path(sys.argv[1]), 'london'): print('held', flush=True); sys.stdin.read()", str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert holder.stdout
    assert holder.stdin
    holder.stdout.readline()
    assert is_held(tmp_path, "london")
    holder.kill()
    holder.wait()
    holder.stdin.close()
    holder.stdout.close()
    assert (tmp_path / "london.lock").exists()
    assert not is_held(tmp_path, "london"), "the system frees what a killed process held"
    with hold(tmp_path, "london", wait_seconds=0), hold(tmp_path, "run-1"):
        (tmp_path / "run-2.lock").touch()
        sweep(tmp_path, "run-")
        assert {path.name for path in tmp_path.iterdir()} == {"london.lock", "run-1.lock"}
    with hold(tmp_path, "run-3", once=True):
        assert is_held(tmp_path, "run-3")
    assert not (tmp_path / "run-3.lock").exists()


@pytest.fixture(scope="module")
def web() -> Generator[WebServer, None, None]:
    server = WebServer()
    with listening(server):
        yield server


@pytest.fixture(scope="module")
def harness(web: WebServer) -> Generator[Harness, None, None]:
    """A site in step, and a webhook."""
    with telling(world([customer(101, PaperCutPayAsYouPrint=True)])) as running:
        running.reconfigure({"[nexudus]": '[alerts]\nwebhook_env = "HOOK"\n[nexudus]'}, HOOK=web.url)
        assert running.run().ok
        yield running


def begun(harness: Harness) -> str | None:
    """The run that last began to read the site."""
    with harness.sites.store.connect() as con:
        return memory.recall(con, "london", memory.STARTED)


def test_a_command_that_was_killed_in_a_run_is_told_and_the_next_look_asks_at_once(
    harness: Harness, web: WebServer
) -> None:
    harness.fault("london", "*", "delay", times=1000, seconds=60)
    with storage() as instance:
        keys = set[str | None]()
        for _ in range(2):  # the second one in the same ten minutes
            before = begun(harness)
            command = subprocess.Popen(
                [*PRINTBRIDGE, "run"], env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )  # fmt: skip
            deadline = time.monotonic() + 120
            while begun(harness) == before:
                assert time.monotonic() < deadline, "the run does not begin"
                time.sleep(0.1)
            assert life.close_lost(instance, harness.state_folder.locks, later(timedelta(minutes=1))) == []
            command.kill()
            command.wait()
            assert life.close_lost(instance, harness.state_folder.locks) == [], "its last word is too fresh"
            assert Look(harness, instance).skipped == "london: a run is in progress"
            (lost,) = life.close_lost(instance, harness.state_folder.locks, later(timedelta(minutes=1)))
            look = Look(harness, instance)
            assert look.reason("london") == "the last run did not finish, or was a dry run"
            keys.add(look.requests["london"].run_key)
        assert len(keys) == 2, f"each is asked for anew at once: {keys}"
        (failure,) = failures(instance)
    harness.heal()
    assert (failure.run_id, failure.step) == (lost, "start")
    assert "its process was killed, or the machine restarted" in failure.text
    web.posts.clear()
    said = printbridge("alerts", "check", "--json").document
    assert [cause["kind"] for cause in said["causes"]] == ["run failed"]
    assert "its process was killed" in web.posts[0]["text"]
    assert harness.run().ok
    assert printbridge("alerts", "check", "--json").document["causes"] == []


# --- looks -----------------------------------------------------------------------------------------------------------

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
_places: Iterator[int] = itertools.count(1)


def ticks(instance: dg.DagsterInstance, *told: tuple[datetime, TickStatus], status: str = "DECLARED_IN_CODE") -> None:
    """Let the schedule that looks have these ticks, as Dagster's daemon writes them."""
    instance.wipe_all_schedules()
    location = GrpcServerCodeLocationOrigin("localhost", next(_places), None, "printbridge", False, None)
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "__repository__"), life.LOOK)
    data = ScheduleInstigatorData("* * * * *", None)
    state = InstigatorState(origin, InstigatorType.SCHEDULE, InstigatorStatus[status], data)
    instance.add_instigator_state(state)
    for at, tick in told:
        moment = at.timestamp()
        instance.create_tick(TickData(
            instigator_origin_id=state.instigator_origin_id, instigator_name=life.LOOK,
            instigator_type=InstigatorType.SCHEDULE, status=tick, timestamp=moment, end_timestamp=moment,
            selector_id=state.selector_id, run_ids=["a run"] if tick == TickStatus.SUCCESS else [],
            error=SerializableErrorInfo("gone", [], "Gone") if tick == TickStatus.FAILURE else None,
        ))  # fmt: skip


@contextmanager
def up(home: Home, since: datetime) -> Generator[None, None, None]:
    """A service that is up since then."""
    home.workspace.touch()
    os.utime(home.workspace, (since.timestamp(), since.timestamp()))
    with hold(home.locks, life.SERVICE):
        yield


def configured(harness: Harness, every: str, minutes: int) -> Settings:
    alerts = harness.settings.alerts.model_copy(update={"no_look_minutes": minutes})
    return harness.settings.model_copy(update={"every": every, "alerts": alerts})


GOOD = (TickStatus.SUCCESS, TickStatus.SKIPPED)


@settings(max_examples=60)
@given(
    told=st.lists(st.tuples(st.integers(-300, -1), st.sampled_from([*GOOD, TickStatus.FAILURE, TickStatus.STARTED])),
                  max_size=6, unique_by=lambda each: each[0]),
    begun=st.integers(-300, -1), every=st.sampled_from([1, 2, 5, 15]), patience=st.integers(1, 20),
)  # fmt: skip
def test_nobody_looks_if_two_looks_and_the_patience_have_gone_by(
    harness: Harness, instance: dg.DagsterInstance, tmp_path_factory: pytest.TempPathFactory, *,
    told: list[tuple[int, TickStatus]], begun: int, every: int, patience: int,
) -> None:  # fmt: skip
    home = Home(tmp_path_factory.mktemp("home"))
    ticks(instance, *((NOON + timedelta(minutes=at), status) for at, status in sorted(told)))
    with up(home, NOON + timedelta(minutes=begun)):
        said = life.silence(instance, configured(harness, f"*/{every} * * * *", patience), home, lambda: NOON)
    last = max([begun, *(at for at, status in told if status in GOOD)])
    second = last - last % every + 2 * every  # noon is a multiple of every `every`
    assert bool(said) == (second + patience <= 0), (last, second)
    assert said is None or said.since == NOON + timedelta(minutes=last)


def test_a_night_without_looks_is_no_silence(harness: Harness, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    evening, morning = NOON.replace(hour=19, minute=58), NOON.replace(hour=7) + timedelta(days=1)
    ticks(instance, (evening, TickStatus.SKIPPED))
    office = configured(harness, "*/2 7-19 * * *", 5)
    with up(Home(tmp_path), evening - timedelta(days=3)):
        for at, silent in ((morning, False), (morning + timedelta(minutes=6), False),
                           (morning + timedelta(minutes=7), True)):  # fmt: skip
            assert bool(life.silence(instance, office, Home(tmp_path), lambda at=at: at)) == silent, at


@pytest.mark.parametrize(
    ("status", "is_up", "why"),
    [
        ("STOPPED", True, "the schedule look_and_sync is switched off"),
        ("DECLARED_IN_CODE", True, "the schedule has no ticks"),
        ("DECLARED_IN_CODE", False, "`printbridge dev` does not run"),
    ],
)
def test_it_says_why(
    harness: Harness, instance: dg.DagsterInstance, tmp_path: Path, *, status: str, is_up: bool, why: str
) -> None:
    ticks(instance, (NOON, TickStatus.SKIPPED), status=status)
    now = NOON + timedelta(hours=1)
    with up(Home(tmp_path), NOON - timedelta(days=1)) if is_up else ExitStack():
        said = life.silence(instance, configured(harness, "*/2 * * * *", 5), Home(tmp_path), lambda: now)
    assert said
    assert (said.since, said.why) == (NOON, why)


def test_a_service_that_has_just_started_has_its_own_time(
    harness: Harness, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    ticks(instance, (NOON - timedelta(days=2), TickStatus.SKIPPED))
    usual = configured(harness, "*/2 * * * *", 5)
    with up(Home(tmp_path), NOON):
        assert life.silence(instance, usual, Home(tmp_path), lambda: NOON + timedelta(minutes=8)) is None
        assert life.silence(instance, usual, Home(tmp_path), lambda: NOON + timedelta(minutes=9))


def test_an_installation_that_works_by_command_is_not_said_to_be_blind(harness: Harness) -> None:
    usual = configured(harness, "*/2 * * * *", 5)
    with storage() as instance:
        instance.wipe_all_schedules()
        assert life.silence(instance, usual, harness.state_folder) is None, "there never was a service"
        ticks(instance, (system_clock() - timedelta(days=1), TickStatus.SKIPPED))
        tomorrow = later(timedelta(days=1))
        assert harness.run(**runs.tags(f"{runs.BY_HAND}: command of ann", "london")).ok
        assert life.silence(instance, usual, harness.state_folder, tomorrow) is None, "a run since then is a look"
        ticks(instance, (system_clock(), TickStatus.SKIPPED))
        assert life.silence(instance, usual, harness.state_folder, tomorrow), "the service came after it"
        instance.wipe_all_schedules()


def test_alerts_check_tells_by_timer_that_nobody_looks(harness: Harness, web: WebServer) -> None:
    since = system_clock() - timedelta(hours=2)
    with storage() as instance:
        ticks(instance, (since, TickStatus.SKIPPED))
    web.posts.clear()
    try:
        with up(harness.state_folder, since):
            said = printbridge("alerts", "check")
        title = f"no look at any site since {since:%Y-%m-%d %H:%M} UTC"
        assert title in said.out
        assert [title in post["text"] for post in web.posts] == [True]
    finally:
        with storage() as instance:
            instance.wipe_all_schedules()
    assert "no look" not in printbridge("alerts", "check").out


# --- telling from outside --------------------------------------------------------------------------------------------


@contextmanager
def guarded(harness: Harness) -> Generator[None, None, None]:
    """A guard on duty, as beside the processes of `printbridge dev`."""
    stop = threading.Event()
    with guard.on_duty(harness.state_folder, stop):
        yield


def told(web: WebServer, seconds: float = 60) -> str:
    deadline = time.monotonic() + seconds
    while not web.posts:
        assert time.monotonic() < deadline, "nobody was told"
        time.sleep(0.1)
    return "\n".join(post["text"] for post in web.posts)


@pytest.fixture
def silent(harness: Harness, web: WebServer) -> Generator[datetime, None, None]:
    """A service that is up and has not looked for two hours."""
    since = system_clock() - timedelta(hours=2)
    with storage() as instance:
        ticks(instance, (since, TickStatus.SKIPPED))
    web.posts.clear()
    with up(harness.state_folder, since):
        yield since
    with storage() as instance:
        instance.wipe_all_schedules()


def test_the_guard_tells_from_outside_of_the_code_location(harness: Harness, web: WebServer, silent: datetime) -> None:
    with guarded(harness):
        text = told(web)
    assert f"URGENT: no look at any site since {silent:%Y-%m-%d %H:%M} UTC" in text
    assert "docs/runbook.md#nobody-looks" in text
    web.posts.clear()
    printbridge("alerts", "check")
    assert web.posts == [], "both remember in the same place what was told"


@pytest.mark.parametrize("damage", ["warehouse.duckdb", "history/runs.db"])
def test_the_guard_tells_although_nothing_can_be_remembered(
    harness: Harness, web: WebServer, silent: datetime, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "system_clock", later(timedelta(hours=1)))
    file = harness.state_folder.path / damage
    harness.sites.close()
    aside = [(each, each.rename(each.with_name(f"aside-{each.name}"))) for each in file.parent.glob(f"{file.name}*")]
    file.write_bytes(b"This is no database. " * 500)
    try:
        with guarded(harness):
            text = told(web)
    finally:
        for former, now in aside:
            now.rename(former)
    assert "URGENT: no look at any site" in text
    assert ("the warehouse fails" if damage.endswith("duckdb") else "Dagster's records fail") in text
