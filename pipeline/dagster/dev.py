"""Dagster's code server, daemon and web server: started together, kept up, and ended together.

What belongs here: starting them from any folder, starting one anew that ended or does not answer, and passing on the
wish to stop. What does not: what runs in them (`pipeline.definitions`), and what Dagster's storage says of runs and
looks (`life.py`). The web server has no login, so it listens on this machine only (`money-safety.md` 8.14).

This process stands outside of what it watches: it has no code location, and is no child of one.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._grpc.client import DagsterGrpcClient  # the one way to ask a code server whether it is up

from pipeline.configuration import config_path
from pipeline.dagster import guard
from pipeline.dagster.life import SERVICE
from pipeline.dagster.outcomes import storage
from pipeline.errors import ConfigError, TransientError
from pipeline.home import Home
from pipeline.store.locks import hold

HOST = "127.0.0.1"
STOP_SECONDS = 30.0
LOADING_SECONDS = 180.0
"""So long a code server may take to load the definitions; Dagster's own limit."""
SILENT_SECONDS = 20.0
"""A code server that was up and has not answered for so long is started anew."""
ASK_SECONDS = 2.0
WORST_PAUSE = 60.0
"""The longest pause before a process that ends again and again is started once more."""
HEALTHY_SECONDS = 300.0
"""A process that lived for so long ended for a new reason."""

WORKSPACE = """\
# Written by `printbridge dev` at every start.
load_from:
  - grpc_server: {{location_name: printbridge, host: localhost, {place}}}
"""

LEASH = """\
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""
"""Linux kills the process that this becomes when the process that started it is killed: none is left on its own."""


def serve(home: Home, port: int) -> int:
    """Run Dagster's UI and schedules until Ctrl-C or SIGTERM.

    Args:
        home: the prepared state folder.
        port: the port of the UI on 127.0.0.1.

    Returns:
        The exit code: 0 after a wish to stop.

    Raises:
        ConfigError: the port is taken, or another service is up on this state folder.
        PermanentError: Dagster's storage is damaged.
    """
    _refuse_if_taken(port)
    with _alone(home), tempfile.TemporaryDirectory(prefix="printbridge-") as place:
        with storage():  # made before two processes want it at once, and refused here if it is damaged
            pass
        code = CodeServer(Path(place))
        home.workspace.write_text(WORKSPACE.format(place=code.place), "utf-8")
        os.environ.update(
            PRINTBRIDGE_CONFIG=str(config_path().absolute()), PRINTBRIDGE_HOME=str(home.path),
            DAGSTER_DISABLE_TELEMETRY="1", DAGSTER_IS_DEV_CLI="1",
        )  # fmt: skip
        workspace = ("-w", str(home.workspace))
        # What it did is in its storage; a look every few seconds would fill the journal.
        daemon = Child("daemon", ("dagster._daemon", "run", "--log-level", "warning", *workspace))
        web = Child("web server", ("dagster_webserver", *workspace, "-h", HOST, "-p", str(port)))
        return _kept_up(home, code, daemon, web)


def _kept_up(home: Home, code: CodeServer, daemon: Child, web: Child) -> int:
    """Start the processes, and keep them up until somebody wants them to stop."""
    stop = threading.Event()
    with _wishes(stop), guard.on_duty(home, stop) as duty:
        code.child.start()
        while not (stop.is_set() or code.is_up() or code.child.age() > LOADING_SECONDS or code.child.ended()):
            stop.wait(0.5)
        children = (code.child, daemon, web)
        while not stop.is_set():
            if duty.hung.is_set():
                duty.hung.clear()
                daemon.end("has not been heard of")
            if code.is_silent():
                code.child.end("does not answer")
            for child in children:
                child.keep()
            stop.wait(1.0)
        for child in children:
            child.ask_to_stop()
        deadline = time.monotonic() + STOP_SECONDS
        for child in children:
            child.finish(deadline)
    return 0


@dataclass
class Child:
    """One process, in a session of its own.

    Attributes:
        name: what it is called in messages.
        words: the module that it runs, and its arguments.
    """

    name: str
    words: tuple[str, ...]
    _process: subprocess.Popen[bytes] | None = None
    _began: float = 0.0
    _again: float = 0.0
    _ends: int = 0

    def start(self) -> None:
        """Start it; a session of its own keeps a Ctrl-C in the terminal from it, for that is passed on."""
        command = ["-W", "ignore::FutureWarning", "-m", *self.words]
        if sys.platform == "linux":
            command = ["-c", LEASH, str(os.getpid()), *command]
        self._process = subprocess.Popen([sys.executable, *command], start_new_session=True)  # noqa: S603 - our words
        self._began = time.monotonic()

    def keep(self) -> None:
        """Start it if it is not up, the later the oftener it has ended."""
        if not self.ended():
            return
        now = time.monotonic()
        if self._process:
            self._ends = 0 if self.age() > HEALTHY_SECONDS else self._ends + 1
            pause = min(WORST_PAUSE, 2.0 ** (self._ends - 1)) if self._ends else 0.0
            say(f"the {self.name} ended with {self._process.returncode}; it is started again in {pause:.0f} s")
            self._process, self._again = None, now + pause
        if now >= self._again:
            self.start()

    def age(self) -> float:
        """For how many seconds it has been up."""
        return time.monotonic() - self._began

    def ended(self) -> bool:
        """Whether it is not up."""
        return self._process is None or self._process.poll() is not None

    def end(self, why: str) -> None:
        """Kill it alone: what it has started goes on, or ends by itself."""
        if self._process and not self.ended():
            say(f"the {self.name} {why} and is ended")
            self._process.kill()
            self._process.wait()

    def ask_to_stop(self) -> None:
        """Ask it once, as Ctrl-C does."""
        if self._process and not self.ended():
            self._process.send_signal(signal.SIGINT)

    def finish(self, deadline: float) -> None:
        """Wait for its end until then, then kill it; and end what it has left behind."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)


class CodeServer:
    """The process that loads our definitions, evaluates schedules and starts runs; asked from a thread of its own.

    Dagster's daemon finds it again by itself when it is up anew. It does not start it: that takes the daemon five
    minutes, and then it gives up.

    Args:
        folder: where its socket lies, closed to others: whoever reaches it can run code.
    """

    def __init__(self, folder: Path) -> None:
        # Dagster has no sockets on Windows.
        port, path = (_free_port(), None) if os.name == "nt" else (None, str(folder / "code"))
        where = ("--port", str(port)) if port else ("--socket", str(path))
        self.place = f"port: {port}" if port else f"socket: '{path}'"
        self.child = Child("code server", (
            "dagster", "code-server", "start", "-m", "pipeline.definitions", "-d", str(Path(__file__).parents[2]),
            "--location-name", "printbridge", *where, "--use-python-environment-entry-point", "--log-level", "warning",
            "--startup-timeout", f"{LOADING_SECONDS:.0f}", "--heartbeat", "--heartbeat-timeout", "60",
        ))  # fmt: skip
        self._answered: float | None = None
        client = DagsterGrpcClient(port=port, socket=path)
        threading.Thread(target=self._ask, args=(client,), daemon=True, name="code server").start()

    def _ask(self, client: DagsterGrpcClient) -> None:
        while True:
            with suppress(DagsterUserCodeUnreachableError):
                client.heartbeat()  # to the outer process, which else takes us for dead and ends
                client.get_server_id(timeout=int(ASK_SECONDS))  # of the inner one, which has the definitions
                self._answered = time.monotonic()
            time.sleep(ASK_SECONDS)

    def is_up(self) -> bool:
        """Whether it has answered since it was started."""
        return self._answered is not None and self._answered > time.monotonic() - self.child.age()

    def is_silent(self) -> bool:
        """Whether it ought to answer and does not."""
        if self.child.ended() or self._answered is None or not self.is_up():
            return not self.child.ended() and self.child.age() > LOADING_SECONDS
        return time.monotonic() - self._answered > SILENT_SECONDS


def say(text: str) -> None:
    """A line for the journal."""
    sys.stderr.write(f"printbridge: {text}\n")
    sys.stderr.flush()


@contextmanager
def _alone(home: Home) -> Generator[None, None, None]:
    lock = hold(home.locks, SERVICE, wait_seconds=1.0)
    try:
        lock.__enter__()
    except TransientError as error:
        raise ConfigError(
            f"Another `printbridge dev` is up on the state folder {home.path}",
            "use that one, or stop it first; another installation needs a state folder of its own (PRINTBRIDGE_HOME)",
        ) from error
    try:
        yield
    finally:
        lock.__exit__(None, None, None)


@contextmanager
def _wishes(stop: threading.Event) -> Generator[None, None, None]:
    """Take every wish to stop, in place of being ended by it.

    A process that ignores SIGINT hands that on to its children, and Dagster then never ends (`stack.md` 5). A handler,
    unlike "ignore", is not inherited, so it is set before the start.
    """

    def wish(_number: int, _frame: object) -> None:
        stop.set()

    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    former: list[tuple[int, Callable[..., object] | int | None]] = [
        (number, signal.signal(number, wish)) for number in numbers
    ]
    try:
        yield
    finally:
        for number, handler in former:
            signal.signal(number, handler)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def _refuse_if_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise ConfigError(
                f"Port {port} on {HOST} cannot be used: {error.strerror}",
                "stop what uses it, or choose another with `printbridge dev --port`",
            ) from error
