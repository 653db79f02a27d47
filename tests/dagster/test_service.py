"""`printbridge dev` as it is started by an operator, with its processes killed one by one and all together.

What belongs here: real processes, and what comes up again by itself. What does not: what Dagster's storage says of them
(`test_life.py`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Generator, Iterable
from pathlib import Path

import dagster as dg
import httpx
import pytest

from pipeline.dagster import runs
from pipeline.dagster.outcomes import storage
from tests.commands import PRINTBRIDGE, ROOT, printbridge
from tests.harness import Harness, telling
from tests.worlds import customer, world

PATIENCE = 240.0
"""Seconds for something to happen, on a machine that does other things, too."""

TICK = 60.0
"""Seconds between two looks."""

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="the tree of processes is read from /proc")


class Service:
    """`printbridge dev` on a state folder: all its processes."""

    def __init__(self, log: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._log = log
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*PRINTBRIDGE, "dev", "--port", str(self.port)], env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def tree(self, *words: str) -> list[int]:
        """The processes of the service; with words, those whose command line has one of them."""
        parents: dict[int, list[int]] = {}
        for place in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(place.name))
        found, todo = list[int](), [self.process.pid]
        while todo:
            found.append(todo.pop())
            todo += parents.get(found[-1], [])
        return [pid for pid in found if not words or any(word in command(pid) for word in words)]

    def kill(self, pids: Iterable[int]) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def launch(self, job: str) -> None:
        """Launch a job of London in the web interface."""
        selector = {"repositoryLocationName": "printbridge", "repositoryName": "__repository__", "pipelineName": job}
        tags = [{"key": "dagster/partition", "value": "london"}]
        params = {"selector": selector, "mode": "default", "runConfigData": {}, "executionMetadata": {"tags": tags}}
        self._mutate("launchRun(executionParams: $p)", "LaunchRunSuccess", ExecutionParams=params)

    def cancel(self, run: dg.DagsterRun) -> None:
        """Cancel a run in the web interface."""
        self._mutate("terminateRun(runId: $p)", "TerminateRunSuccess", String=run.run_id)

    def _mutate(self, call: str, wanted: str, **given: object) -> None:
        ((kind, value),) = given.items()
        query = f"mutation($p: {kind}!) {{answer: {call} {{__typename}}}}"
        body = {"query": query, "variables": {"p": value}}
        answer = httpx.post(f"http://127.0.0.1:{self.port}/graphql", json=body, timeout=60, trust_env=False).json()
        assert answer["data"]["answer"]["__typename"] == wanted, answer


def command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def until(what: str, holds: Callable[[], object], seconds: float = PATIENCE) -> float:
    """Wait until something holds; how long it took."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.5)
    return time.monotonic() - began


def found(**filters: object) -> list[dg.DagsterRun]:
    with storage() as instance:
        return list(instance.get_runs(dg.RunsFilter(**filters)))


def is_at_work(harness: Harness) -> list[dg.DagsterRun]:
    """The runs that hold their name, so surely in a step."""
    locks = harness.state_folder.locks
    begun = found(statuses=[dg.DagsterRunStatus.STARTED])
    return [run for run in begun if (locks / f"{runs.lock_of(run.run_id)}.lock").exists()]


def status(run: dg.DagsterRun) -> dg.DagsterRunStatus:
    (now,) = found(run_ids=[run.run_id])
    return now.status


def succeeded() -> int:
    return len(found(statuses=[dg.DagsterRunStatus.SUCCESS], job_name="sync_site"))


@pytest.fixture(scope="module")
def harness() -> Generator[Harness, None, None]:
    """A site that is looked at every minute."""
    with telling(world([customer(101, PaperCutPayAsYouPrint=True)])) as running:
        running.reconfigure({"[nexudus]": 'every = "* * * * *"\n[nexudus]'})
        yield running


@pytest.fixture(scope="module")
def service(harness: Harness, tmp_path_factory: pytest.TempPathFactory) -> Generator[Service, None, None]:
    harness.fault("london", "*", "delay", times=1000, seconds=300)
    made = Service(tmp_path_factory.mktemp("service") / "log")
    try:
        yield made
    finally:
        made.kill(made.tree())
        made.process.wait()


def test_after_every_process_was_killed_in_a_run_the_site_is_looked_at_again(
    harness: Harness, service: Service
) -> None:
    until("a run is at work", lambda: is_at_work(harness))
    (cut_off,) = is_at_work(harness)
    service.launch("reread_jobs")
    until("one waits behind it", lambda: found(statuses=[dg.DagsterRunStatus.QUEUED]))
    (queued,) = found(statuses=[dg.DagsterRunStatus.QUEUED])
    refused = printbridge("dev", "--port", str(service.port + 1), code=2)
    assert "Another `printbridge dev` is up on the state folder" in refused.err
    assert "What to do: use that one, or stop it first" in refused.err

    service.kill(service.tree())
    service.process.wait()
    harness.heal()
    assert status(cut_off) == dg.DagsterRunStatus.STARTED, "nobody is left who could say that it ended"
    service.start()
    until("the run is closed", lambda: status(cut_off) == dg.DagsterRunStatus.FAILURE)
    until("what waited has run", lambda: status(queued) == dg.DagsterRunStatus.SUCCESS)
    assert "c101@example.com" in harness.users()


def test_after_worker_and_code_server_were_killed_the_site_is_looked_at_within_two_ticks(
    harness: Harness, service: Service
) -> None:
    until("all is quiet", lambda: not is_at_work(harness))
    harness.fault("london", "*", "delay", times=1000, seconds=300)
    harness.edit("coworkers", 101, FullName="Ann")
    until("a run is at work", lambda: is_at_work(harness))
    (cut_off,) = is_at_work(harness)
    before = succeeded()
    service.kill(service.tree("dagster api grpc", "multiprocessing"))
    harness.heal()
    seconds = until("a run has brought the site in step", lambda: succeeded() > before)
    assert status(cut_off) == dg.DagsterRunStatus.FAILURE
    assert seconds < 2 * TICK + TICK, f"a run after two ticks is through {seconds:.0f} s after the kill"


def test_a_run_that_is_canceled_in_the_interface_ends_and_lets_its_site_go(harness: Harness, service: Service) -> None:
    until("all is quiet", lambda: not is_at_work(harness))
    harness.fault("london", "*", "delay", times=1000, seconds=8)
    harness.edit("coworkers", 101, FullName="Bea")
    until("a run is at work", lambda: is_at_work(harness))
    (run,) = is_at_work(harness)
    service.cancel(run)
    until("it has ended", lambda: status(run) == dg.DagsterRunStatus.CANCELED)
    harness.heal()
    before = succeeded()  # the schedule tries again within ten minutes; the person who canceled need not wait
    service.launch("sync_site")
    until("a run has brought the site in step", lambda: succeeded() > before)
    assert harness.users()["c101@example.com"]["full_name"] == "Bea"


@pytest.mark.parametrize("name", ["dagster code-server", "dagster._daemon", "dagster_webserver"])
def test_a_process_that_ended_is_started_again(service: Service, name: str) -> None:
    until("it is up", lambda: service.tree(name))
    before = service.tree(name)
    service.kill(before)
    until("another is up", lambda: set(service.tree(name)) - set(before))
    assert service.process.poll() is None, "the others stay up"


def test_no_process_outlives_the_one_that_watches_them(service: Service) -> None:
    tree = service.tree("code-server", "_daemon", "dagster_webserver")
    assert len(tree) == 3
    service.kill([service.process.pid])
    service.process.wait()
    until("they have ended", lambda: not [pid for pid in tree if "dagster" in command(pid)], 20)
    service.start()
    until("the web interface is up", lambda: _answers(service.port))
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(60) == 0
    assert service.tree() == [service.process.pid], "a wish to stop ends all of them"


def _answers(port: int) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{port}/server_info", timeout=5, trust_env=False).is_success
    return False
