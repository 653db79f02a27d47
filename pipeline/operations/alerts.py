"""Alerts: what needs a person is told once, by e-mail and webhook, with the command that resolves it.

What belongs here: a cause as a message, and the memory of what was told. What does not: which causes there are
(`causes.py`), how a message travels (`channels.py`) and when to look (`pipeline.dagster.schedules`).

A cause is told when it begins, again every day while it lasts, and anew when it ended and comes back. Messages hold
numbers and customer ids, never names or e-mails.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from pipeline.errors import ConfigError, PrintbridgeError, RejectedError
from pipeline.operations.causes import causes
from pipeline.operations.channels import Message, channels
from pipeline.operations.kinds import KINDS, LONGEST, Cause, Failure, anchor
from pipeline.site import Sites
from pipeline.store import memory

__all__ = ["KINDS", "Cause", "Failure", "anchor", "anonymous", "causes", "message", "tell", "test_message"]

REMIND_AFTER = timedelta(days=1)

LOCK = "_alerts"
"""The name of the lock; no site can have it."""

log = logging.getLogger(__name__)


def message(cause: Cause) -> Message:
    """A cause as people read it."""
    facts = [anonymous(fact) for fact in cause.facts]
    text = "\n".join([*facts, "", f"Next: {anonymous(cause.remedy)}.", f"More: docs/runbook.md#{anchor(cause.kind)}"])
    title = anonymous(cause.title)
    return Message(f"URGENT: {title}" if cause.urgent else title, text)


def anonymous(text: str) -> str:
    """A sentence on one line without e-mails, which user names are, too."""
    text = " ".join(re.sub(r"[^\s@<>\"'(),;:`]+@[^\s@<>\"'(),;:`]+", "(e-mail)", text).split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


# --- telling ---------------------------------------------------------------------------------------------------------


def tell(sites: Sites, alerts: Sequence[Cause]) -> list[str]:
    """Send what was not told yet, or not for a day, and remember it; a channel that fails is tried again next time.

    Args:
        sites: every site.
        alerts: all causes that stand now; what is not among them has ended.

    Returns:
        What was sent, and which channel failed and why.
    """
    said: list[str] = []
    now = sites.clock()
    with sites.hold(LOCK, wait_seconds=30):
        with sites.store.connect() as con:
            known: dict[str, dict[str, str]] = json.loads(memory.recall(con, memory.ACCOUNT, memory.ALERTS) or "{}")
        told = {alert.cause: dict(known.get(alert.cause, {})) for alert in alerts}
        for channel, send in channels(sites.settings.alerts).items():
            for alert in alerts:
                if not _is_due(told[alert.cause].get(channel), now):
                    continue
                try:
                    send(message(alert), now)
                except PrintbridgeError as error:
                    said.append(f"{channel} failed: {error}")
                    log.warning("%s failed: %s", channel, error)
                    if not isinstance(error, RejectedError):  # one message was refused, or nothing gets through
                        break
                else:
                    told[alert.cause][channel] = now.isoformat()
                    said.append(f"told by {channel}: {alert.title}")
        text = json.dumps(told)
        sites.store.commit(lambda con: memory.remember(con, memory.ACCOUNT, memory.ALERTS, text, now))
    return said


def _is_due(last: str | None, now: datetime) -> bool:
    return last is None or now - datetime.fromisoformat(last) >= REMIND_AFTER


def test_message(sites: Sites) -> list[tuple[str, PrintbridgeError | None]]:
    """Send a test message over every channel; each with the error that stopped it, if one did.

    Raises:
        ConfigError: no channel is configured.
    """
    ways = channels(sites.settings.alerts)
    if not ways:
        raise ConfigError(
            "bridge.toml names nobody to be told", "fill in smtp_host, from_address and to, or webhook_env, in [alerts]"
        )
    text = Message("a test message", "Nothing is wrong: this is what `printbridge alerts test` sends.")
    done: list[tuple[str, PrintbridgeError | None]] = []
    for name, send in ways.items():
        try:
            send(text, sites.clock())
            done.append((name, None))
        except PrintbridgeError as error:
            done.append((name, error))
    return done
