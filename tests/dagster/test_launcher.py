"""The launcher: runs in processes of their own, which end well, fail, die or are canceled, and what is said of each.

What belongs here: `pipeline/dagster/launcher.py` with small jobs. What does not: the runs of a site under
`printbridge dev` (`test_service.py`).
"""

# No `from __future__ import annotations`: Dagster reads the annotations of ops at run time.
import os
import time
from collections.abc import Callable, Generator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.launcher import LaunchRunContext, WorkerStatus

from pipeline.dagster import runs
from pipeline.dagster.launcher import WarmLauncher
from pipeline.store.locks import hold

STATUS = dg.DagsterRunStatus
PATIENCE = 120.0


@dg.op
def act(context: dg.OpExecutionContext) -> None:
    """Do what the tag of the run says."""
    match context.run.tags["do"]:
        case "die":
            os._exit(3)
        case "fail":
            raise ValueError("as it was told")
        case "sleep":
            time.sleep(PATIENCE)
        case _:
            context.log.info(f"process {os.getpid()}")


@dg.job(executor_def=dg.in_process_executor)
def small() -> None:
    """One step."""
    act()


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Generator[dg.DagsterInstance, None, None]:
    folder = tmp_path_factory.mktemp("launcher")
    (folder / "dagster.yaml").write_text(
        "run_launcher: {module: pipeline.dagster.launcher, class: WarmLauncher}\ntelemetry: {enabled: false}\n", "utf-8"
    )
    with dg.DagsterInstance.from_config(str(folder)) as made:
        yield made


def launched(instance: dg.DagsterInstance, do: str) -> str:
    """The id of a run that was launched as the queue does it."""
    origin = dg.reconstructable(small).get_python_origin()
    run = instance.create_run_for_job(small, tags={"do": do}, job_code_origin=origin, status=STATUS.STARTING)
    instance.run_launcher.launch_run(LaunchRunContext(run, workspace=None))
    return run.run_id


def of(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRun:
    run = instance.get_run_by_id(run_id)
    assert run
    return run


def until(holds: Callable[[], bool]) -> None:
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < PATIENCE
        time.sleep(0.1)


@pytest.mark.parametrize(("do", "status"), [("nothing", STATUS.SUCCESS), ("fail", STATUS.FAILURE)])
def test_a_run_has_a_process_of_its_own_and_says_what_became_of_it(
    instance: dg.DagsterInstance, do: str, status: dg.DagsterRunStatus
) -> None:
    run_id = launched(instance, do)
    until(lambda: of(instance, run_id).is_finished)
    assert of(instance, run_id).status == status
    said = [each.user_message for each in instance.all_logs(run_id)]
    assert f"process {os.getpid()}" not in said
    assert not instance.run_launcher.terminate(run_id), "what has ended cannot be ended"


def test_a_run_whose_process_died_is_told_to_dagsters_monitoring(instance: dg.DagsterInstance) -> None:
    run_id = launched(instance, "die")
    health = instance.run_launcher.check_run_worker_health
    until(lambda: health(of(instance, run_id)).status == WorkerStatus.FAILED)
    assert health(of(instance, run_id)).msg == "its process ended with 3"


def test_a_run_that_is_canceled_ends(instance: dg.DagsterInstance) -> None:
    run_id = launched(instance, "sleep")
    until(lambda: of(instance, run_id).status == STATUS.STARTED)
    assert instance.run_launcher.check_run_worker_health(of(instance, run_id)).status == WorkerStatus.RUNNING
    assert instance.run_launcher.terminate(run_id)
    until(lambda: of(instance, run_id).status == STATUS.CANCELED)


def test_a_run_that_another_daemon_began_lives_while_its_name_is_held(instance: dg.DagsterInstance) -> None:
    run = instance.create_run_for_job(small, status=STATUS.STARTED)
    launcher = instance.run_launcher
    assert isinstance(launcher, WarmLauncher)
    with hold(Path(instance.root_directory) / "locks", runs.lock_of(run.run_id)):
        assert launcher.check_run_worker_health(run).msg is None
    found = launcher.check_run_worker_health(run)
    assert found.status == WorkerStatus.RUNNING, "it may just have begun; who has the last word is `life.close_lost`"
    assert found.msg
    with pytest.raises(dg.DagsterInvariantViolationError, match="does not say where its job is defined"):
        launcher.launch_run(LaunchRunContext(run, workspace=None))
