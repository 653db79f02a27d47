"""The one place that reads the time.

The system clock, or the sandbox's clock when `PRINTBRIDGE_CLOCK_URL` names one (tests and the demo; loopback only).
Nothing else in the project asks for the current time.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from http.client import HTTPConnection
from urllib.parse import urlsplit

from pipeline.errors import ConfigError

Clock = Callable[[], datetime]
"""A function that returns the current time as an aware UTC datetime."""


def system_clock() -> datetime:
    """The machine's time, UTC."""
    return datetime.now(UTC)


def configured_clock() -> Clock:
    """The clock that `PRINTBRIDGE_CLOCK_URL` names, else the system's.

    Raises:
        ConfigError: the address is not on this machine.
    """
    url = os.environ.get("PRINTBRIDGE_CLOCK_URL")
    if not url:
        return system_clock
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host != "localhost" and not _is_loopback(host):
        raise ConfigError(
            f"PRINTBRIDGE_CLOCK_URL is {url!r}, which is not an address of this machine",
            "unset it: only the sandbox on this machine may set the time",
        )

    def now() -> datetime:
        # A connection of its own each time: nobody closes a clock.
        with contextlib.closing(HTTPConnection(host, parts.port or 80, timeout=5)) as connection:
            connection.request("GET", parts.path)
            return datetime.fromisoformat(json.load(connection.getresponse())["now"])

    return now


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
