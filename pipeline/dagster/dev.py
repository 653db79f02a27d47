"""Dagster's web server, daemon and code server, started together and ended together.

What belongs here: starting `dagster dev` from any folder, and passing on the wish to stop. What does not: what runs in
it (`pipeline.definitions`). The web server has no login, so it listens on this machine only (`money-safety.md` 8.14).
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.home import Home
from pipeline.settings import config_path

HOST = "127.0.0.1"
STOP_SECONDS = 30.0

WORKSPACE = """\
# Written by `printbridge dev` at every start.
load_from:
  - python_module:
      module_name: pipeline.definitions
      working_directory: {folder}
      location_name: printbridge
"""


def serve(home: Home, port: int) -> int:
    """Run Dagster's UI and schedules until Ctrl-C or SIGTERM.

    Args:
        home: the prepared state folder.
        port: the port of the UI on 127.0.0.1.

    Returns:
        The exit code: 0 after a wish to stop, else that of Dagster.

    Raises:
        ConfigError: the port is taken.
    """
    _refuse_if_taken(port)
    workspace = home.path / "workspace.yaml"
    folder = str(Path(__file__).parents[2]).replace("'", "''")
    workspace.write_text(WORKSPACE.format(folder=f"'{folder}'"), "utf-8")
    command = [
        sys.executable,
        "-W",
        "ignore::FutureWarning",
        "-m",
        "dagster",
        "dev",
        "-w",
        str(workspace),
        "-h",
        HOST,
        "-p",
        str(port),
    ]
    environment = os.environ | {
        "PRINTBRIDGE_CONFIG": str(config_path().absolute()),
        "PRINTBRIDGE_HOME": str(home.path),
        "DAGSTER_DISABLE_TELEMETRY": "1",
    }
    return _supervised(command, environment)


def _supervised(command: list[str], environment: dict[str, str]) -> int:
    """Run a command in a session of its own, and pass every wish to stop on to it, once, as SIGINT.

    A process that ignores SIGINT hands that on to its children, and Dagster then never ends (`stack.md` 5). A handler,
    unlike "ignore", is not inherited, so it is set before the start.
    """
    process: subprocess.Popen[bytes] | None = None
    asked = False

    def stop(_number: int, _frame: object) -> None:
        nonlocal asked
        if process and not asked:
            process.send_signal(signal.SIGINT)
        asked = True

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if number := getattr(signal, name, None):  # Windows has no SIGHUP
            signal.signal(number, stop)
    process = subprocess.Popen(command, env=environment, start_new_session=True)  # noqa: S603 - our own command line
    while not asked:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(1.0)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)  # what it left behind, such as a code server that outlives it
    return 0


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
