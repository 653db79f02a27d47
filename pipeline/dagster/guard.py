"""The guard: a thread of `printbridge dev` that closes lost runs, and tells people when nobody looks.

What belongs here: when it asks, and telling when what is told otherwise is out of order. What does not: what it asks
(`life.py`), the processes (`dev.py`), and what is told while all is well (the sensor of `schedules.py`).

The sensor is evaluated by the code server, so it ends with it. This thread needs Dagster's storage and the network, and
where the storage or the warehouse cannot be read, it tells just that.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import dagster as dg

from pipeline.clock import system_clock
from pipeline.configuration import load_settings
from pipeline.dagster import life
from pipeline.dagster.outcomes import storage
from pipeline.errors import PrintbridgeError
from pipeline.home import Home
from pipeline.operations import alerts
from pipeline.operations.causes import unseen
from pipeline.operations.channels import channels
from pipeline.operations.kinds import Silence
from pipeline.settings import Settings
from pipeline.site import Sites

CLOSE_SECONDS = 10.0
"""Between two looks for runs whose process is gone."""
TELL_SECONDS = 60.0
HUNG_SECONDS = 300.0
"""A daemon whose scheduler has not been heard of for so long hangs."""


@dataclass
class Guard:
    """What the thread knows.

    Attributes:
        home: the state folder.
        hung: set when the daemon ought to be started anew.
    """

    home: Home
    hung: threading.Event = field(default_factory=threading.Event)
    _began: datetime = field(default_factory=system_clock)
    _read: datetime = field(default_factory=system_clock)
    _told: datetime | None = None
    _said: str = ""

    def watch(self, stop: threading.Event) -> None:
        """Look after runs and looks until the service stops; whatever fails is tried again."""
        settings, tell_at = load_settings(), 0.0
        while not stop.is_set():
            tells = time.monotonic() >= tell_at
            try:
                with storage() as instance:
                    self._look_after(instance, settings, tells=tells)
            except Exception as error:  # noqa: BLE001 - the last one who can tell must go on
                self._say(f"{type(error).__name__}: {error}")
                if tells:
                    self._tell_alone(settings, Silence(self._read, f"Dagster's records fail ({type(error).__name__})"))
            if tells:
                tell_at = time.monotonic() + TELL_SECONDS
            stop.wait(CLOSE_SECONDS)

    def _look_after(self, instance: dg.DagsterInstance, settings: Settings, *, tells: bool) -> None:
        life.close_lost(instance, self.home.locks)
        self._heard_of(instance)
        silence = life.silence(instance, settings, self.home) if tells else None
        self._read = system_clock()
        if silence:
            self._tell(instance, settings, silence)

    def _heard_of(self, instance: dg.DagsterInstance) -> None:
        beat = instance.get_daemon_heartbeats().get("SCHEDULER")
        last = max(self._began, datetime.fromtimestamp(beat.timestamp, UTC)) if beat else self._began
        if (system_clock() - last).total_seconds() > HUNG_SECONDS:
            self._began = system_clock()  # its next life has as much time
            self.hung.set()

    def _tell(self, instance: dg.DagsterInstance, settings: Settings, silence: Silence) -> None:
        """Tell it with all that stands, in the memory that every other teller has; without it if that fails."""
        self._say(unseen(silence).title)
        try:
            with closing(Sites(settings, self.home)) as sites:
                alerts.tell(sites, life.standing(instance, sites))
        except Exception as error:  # noqa: BLE001 - a warehouse in whatever state
            self._say(f"the warehouse cannot be used: {type(error).__name__}: {error}")
            self._tell_alone(settings, Silence(silence.since, f"the warehouse fails ({type(error).__name__})"))

    def _tell_alone(self, settings: Settings, silence: Silence) -> None:
        """Tell it without a memory, once a day."""
        now = system_clock()
        patience = 60.0 * settings.alerts.no_look_minutes
        if silence.since and (now - silence.since).total_seconds() < patience:
            return
        if self._told and now - self._told < alerts.REMIND_AFTER:
            return
        for name, send in channels(settings.alerts).items():
            try:
                send(alerts.message(unseen(silence)), now)
                self._told = now
            except PrintbridgeError as error:
                self._say(f"{name} failed: {error}")

    def _say(self, text: str) -> None:
        """A line for the journal, unless it was the last one."""
        if text != self._said:
            self._said = text
            sys.stderr.write(f"printbridge: {text}\n")
            sys.stderr.flush()


@contextmanager
def on_duty(home: Home, stop: threading.Event) -> Generator[Guard, None, None]:
    """A guard that watches until the service stops.

    Args:
        home: the state folder.
        stop: set when the service stops.
    """
    guard = Guard(home)
    thread = threading.Thread(target=guard.watch, args=(stop,), daemon=True, name="guard")
    thread.start()
    try:
        yield guard
    finally:
        stop.set()
        thread.join(5)
