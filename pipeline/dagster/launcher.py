"""The launcher: a run begins as a copy of a process that has imported everything already.

What belongs here: starting the process of a run, canceling it, and saying whether it lives. What does not: what runs in
it (`pipeline.definitions`), the queue before it (Dagster's own), and closing runs that lost their process (`life.py`).

A new process takes seconds to import what a run needs. A copy takes milliseconds, shares the memory, and still is a
process of its own: what harms one run harms no other. The process that is copied does nothing else, so that no lock of
a library can be held at the moment of the copy. Where the system cannot copy processes, a new one is started.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._cli.api import execute_run_command  # what Dagster's own launchers run in their containers
from dagster._core.instance import InstanceRef
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, RunLauncher, WorkerStatus
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClass, ConfigurableClassData, serialize_value
from dagster._utils import send_interrupt

from pipeline.dagster import runs
from pipeline.home import Home
from pipeline.store.locks import is_held

PRELOADED = ["pipeline.definitions", __name__]
CANCEL_SECONDS = 1.0
"""How often a run asks whether it was canceled."""


class WarmLauncher(RunLauncher[dg.DagsterInstance], ConfigurableClass):
    """Starts the runs of Dagster's daemon; `dagster.yaml` names it.

    Args:
        inst_data: how Dagster makes it again in another process.
    """

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__()
        self._inst_data = inst_data
        self._copies = "forkserver" in multiprocessing.get_all_start_methods()
        self._processes: dict[str, BaseProcess] = {}

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """How Dagster makes it again in another process."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """It has no settings."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> WarmLauncher:
        """It, as `dagster.yaml` names it."""
        del config_value
        return cls(inst_data)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Start the process of a run; it reports by itself what becomes of it.

        Raises:
            DagsterInvariantViolationError: the run does not say where its job is defined.
        """
        run, ref, origin = context.dagster_run, self._instance.get_ref(), context.job_code_origin
        if origin is None:
            raise dg.DagsterInvariantViolationError(f"run {run.run_id} does not say where its job is defined")
        words = serialize_value(ExecuteRunArgs(origin, run.run_id, ref, set_exit_code_on_failure=True))
        for ended in [id_ for id_, each in list(self._processes.items()) if not each.is_alive()]:
            self._processes.pop(ended, None)  # the queue launches from several threads
        self._processes[run.run_id] = self._started((words, run.run_id, ref), runs.lock_of(run.run_id))

    def _started(self, words: tuple[str, str, InstanceRef], name: str) -> BaseProcess:
        if self._copies:
            forking = multiprocessing.get_context("forkserver")
            forking.set_forkserver_preload(PRELOADED)
            process: BaseProcess = forking.Process(target=_work, args=words, name=name)
        else:
            process = multiprocessing.get_context("spawn").Process(target=_work, args=words, name=name)
        process.start()
        return process

    def terminate(self, run_id: str) -> bool:
        """Ask a run to end, from any process: it reads so within `CANCEL_SECONDS`."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        """It does, for Dagster's monitoring of runs."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Whether the process of a run lives. Of one that another daemon began, its lock tells."""
        process = self._processes.get(run.run_id)
        locks = Home(Path(self._instance.root_directory)).locks
        if (process and process.is_alive()) or is_held(locks, runs.lock_of(run.run_id)):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        if process:
            return CheckRunHealthResult(WorkerStatus.FAILED, f"its process ended with {process.exitcode}")
        return CheckRunHealthResult(WorkerStatus.RUNNING, "not known yet: `printbridge dev` closes it if it is lost")


def _work(words: str, run_id: str, ref: InstanceRef) -> None:
    """What the process of a run does, from its first to its last step."""
    ended = threading.Event()
    watch = threading.Thread(target=_end_if_canceled, args=(run_id, ref, ended), daemon=True, name="cancel")
    watch.start()
    try:
        execute_run_command.main([words], standalone_mode=False)
    finally:
        ended.set()
        watch.join()


def _end_if_canceled(run_id: str, ref: InstanceRef, ended: threading.Event) -> None:
    with dg.DagsterInstance.from_ref(ref) as instance:
        while not ended.wait(CANCEL_SECONDS):
            run = instance.get_run_by_id(run_id)
            if run is None or run.status == dg.DagsterRunStatus.CANCELING:
                send_interrupt()
                return
