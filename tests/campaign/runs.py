"""One run in a process of its own, which can be killed at a named point.

What belongs here: forking a warm process, taking the steps of a run in it, naming every commit and every call on the
way, and ending the process there with SIGKILL. What does not: what is broken when, and what must hold afterwards.

The points are put around the code at its seams, in the forked process only: `Warehouse.commit`, and
the one function through which both clients send.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import random
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import httpx

from pipeline.clock import configured_clock
from pipeline.configuration import load_settings
from pipeline.dagster.runs import DRY_RUN_TAG, REREAD_TAG
from pipeline.errors import PrintbridgeError
from pipeline.home import prepared_home
from pipeline.services import http as clients
from pipeline.services.ezeep import client as ezeep
from pipeline.services.nexudus import session as nexudus_session
from pipeline.services.papercut import client as papercut
from pipeline.site import Sites
from pipeline.steps.run import Run
from pipeline.steps.sync import STEPS
from pipeline.store.warehouse import Connection, Warehouse
from tests.campaign import power

CHARGES = ("nexudus_credits", "print_jobs", "print_charges", "nexudus_print_charges")
"""The steps of a run that charges people who are users already."""

SECONDS = 600.0
"""A run that takes longer hangs."""

WARM = multiprocessing.get_context("forkserver")
WARM.set_forkserver_preload(["tests.campaign.runs", "pipeline.sandbox.app"])


@dataclass(frozen=True)
class Order:
    """What one run is to do.

    Attributes:
        environment: its whole environment, which names the configuration and the state folder.
        config: bridge.toml.
        steps: assets, in order.
        kill: the name of the point at which it is killed.
        images: where images of the warehouse go that are taken around the commit of the point `kill` (`power.py`).
        odds: (seed, chance): killed by chance at any point.
        tags: tags of the run.
        sites: the sites, one after the other.
        skew_hours: how far the clock of the run is ahead of the servers'.
        watched: the steps whose points count; only there it is killed.
    """

    environment: dict[str, str]
    config: Path
    steps: tuple[str, ...] = CHARGES
    kill: str | None = None
    images: Path | None = None
    odds: tuple[int, float] | None = None
    tags: tuple[tuple[str, str], ...] = ()
    sites: tuple[str, ...] = ("london",)
    skew_hours: float = 0
    watched: tuple[str, ...] = ("nexudus_print_charges", "print_user_sync")


class Report(NamedTuple):
    """How a run ended. `points` are those it passed in the watched steps; a killed run reports nothing."""

    killed: bool
    failures: dict[str, str]
    points: tuple[str, ...] = ()


class Points:
    """Every commit and every call of the load steps, counted by name."""

    def __init__(self, order: Order) -> None:
        self.active = False
        self.passed: list[str] = []
        self._order = order
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._random = random.Random(order.odds[0]) if order.odds else None

    def reach(self, what: str) -> None:
        """Note a point; the end, if the order says so."""
        if not self.active:
            return
        with self._lock:
            self._counts[what] += 1
            name = f"{what} {self._counts[what]}"
            self.passed.append(name)
            chance = self._order.odds[1] if self._order.odds else 0.0
            if name == self._order.kill or (self._random and self._random.random() < chance):
                os.kill(os.getpid(), signal.SIGKILL)

    def image(self, store: Path, moment: str, caller: str) -> None:
        """Take an image of the warehouse, where the order asks for one at this commit."""
        name = f"after the file was closed in {caller} {self._counts[f'before the commit in {caller}']}"
        if self.active and self._order.images and name == self._order.kill:
            power.image(store, self._order.images / moment)

    def install(self) -> None:
        """Put the points into the seams of this process."""
        Warehouse.commit = self._commit
        for client in (nexudus_session, papercut, ezeep):
            client.exchange = self._exchange

    @property
    def _commit(self) -> Callable[[Warehouse, Callable[[Connection], Any]], Any]:
        points = self

        def commit(self: Warehouse, change: Callable[[Connection], Any]) -> Any:
            caller = sys._getframe(1).f_code.co_name  # the function that commits
            with self.connect() as con:
                con.begin()
                try:
                    result = change(con)
                except BaseException:
                    con.rollback()
                    raise
                points.reach(f"before the commit in {caller}")
                points.image(self.path, power.BEFORE, caller)
                con.commit()
                points.image(self.path, power.COMMITTED, caller)
                points.reach(f"after the commit in {caller}")
            points.image(self.path, power.CLOSED, caller)
            points.reach(f"after the file was closed in {caller}")
            return result

        return commit

    def _exchange(self, http: httpx.Client, request: httpx.Request, **limits: Any) -> clients.Reply:
        name = _call_name(request)

        def trace(event: str, _info: dict[str, Any]) -> None:
            if event == "http11.send_request_body.complete":
                self.reach(f"sent, unanswered, {name}")

        request.extensions = {**request.extensions, "trace": trace}
        self.reach(f"before sending {name}")
        try:
            return clients.exchange(http, request, **limits)
        finally:
            self.reach(f"after the answer to {name}")


def _call_name(request: httpx.Request) -> str:
    if request.url.path.endswith("/xmlrpc"):
        return ET.fromstring(request.content).findtext("methodName") or ""  # noqa: S314 - our own request
    entity = request.url.path.split("/")[-1]
    return f"{request.method} {request.url.path.split('/')[-2] if entity.isdigit() else entity}"


def run(order: Order) -> Report:
    """Take a run in a forked process and wait for its end.

    Raises:
        TimeoutError: it hangs.
    """
    return finished(started(order))


def started(order: Order) -> tuple[Any, Pipe]:
    """A run that has begun."""
    here, there = WARM.Pipe(duplex=False)
    process = WARM.Process(target=_take, args=(order, there), daemon=True)
    process.start()
    there.close()
    return process, here


def finished(running: tuple[Any, Pipe]) -> Report:
    """The end of a run that has begun.

    Raises:
        TimeoutError: it hangs.
        RuntimeError: it ended before its end, and was not killed.
    """
    process, here = running
    if not here.poll(SECONDS):
        process.kill()
        process.join()
        raise TimeoutError(f"a run did not end within {SECONDS:.0f} s")
    try:
        report = here.recv()  # before the end is waited for: a long report needs a reader
    except EOFError:
        report = Report(True, {})
    here.close()
    process.join()
    if report.killed and process.exitcode != -signal.SIGKILL:
        raise RuntimeError(f"a run ended by itself with {process.exitcode}")
    return report


def _take(order: Order, answer: Pipe) -> None:
    os.environ.clear()
    os.environ.update(order.environment)
    logging.disable(logging.CRITICAL)
    points = Points(order)
    points.install()
    home = prepared_home()
    clock, skew = configured_clock(), timedelta(hours=order.skew_hours)
    sites = Sites(load_settings(order.config), home, clock=lambda: clock() + skew, wait=lambda _: None)
    tags = dict(order.tags)
    dry = sites.settings.mode == "dry_run" or tags.get(DRY_RUN_TAG) == "true"
    run = Run(f"run-{os.getpid()}", dry=dry, reread_days=int(tags.get(REREAD_TAG, 0)))
    failures: dict[str, str] = {}
    for site in order.sites:
        with sites.hold(site):
            for name in order.steps:
                points.active = name in order.watched
                try:
                    STEPS[name](sites[site], run)
                except PrintbridgeError as error:
                    failures[f"{site} {name}"] = f"{type(error).__name__}: {error}"
                    break
    answer.send(Report(False, failures, tuple(points.passed)))
    os._exit(0)
