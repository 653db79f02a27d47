"""Alerts: what needs a person is told once, by e-mail and webhook, with the command that resolves it.

What belongs here: the causes that stand now, their words, the memory of what was told. What does not: how a message
travels (`channels.py`), reading failed runs from Dagster (`outcomes.py`) and when to look (`automation.py`). Each kind
of cause is a heading of `docs/runbook.md`.

A cause is a state and not an event: it is told when it begins, again every day while it lasts, and anew when it ended
and comes back. Messages hold numbers and customer ids, never names or e-mails.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from pipeline import findings, ledger, safety, warehouse
from pipeline.channels import Message, channels
from pipeline.errors import BridgeError, ConfigError, RejectedError
from pipeline.resources import Bridge, site_lock
from pipeline.warehouse import Connection

REMIND_AFTER = timedelta(days=1)
SHOWN, LONGEST = 10, 2000
"""Ids named in a message; characters of one sentence."""

LOCK, MEMORY = "_alerts", "alerts"
"""The lock and the bookmark; no site can have the name of the lock."""

KINDS = {
    "run failed": "a run of a job ended with an error",
    "stopped": "a safety gate closed, and nothing of its kind is done until a person resumes it",
    "held": "charges wait for a person",
    "stale": "no run of a site has finished for `stale_hours`",
    "seats": "the PaperCut licence has no seat, or hardly any, for more customers",
}
"""Every kind of cause; for `stopped` and `held` the runbook says more, by phase and by reason."""

PHASE_STEPS = {"charges": "nexudus_print_charges", "remove": "papercut_user_sync", "rename": "papercut_user_sync"}
"""The step that fails while a phase is stopped."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Alert:
    """One cause, in words.

    Attributes:
        cause: what makes two alerts the same.
        kind: one of KINDS, with the phase or reason behind it where there is one: `held: overdrawn`.
        title: what happened, in one line.
        facts: to whom, the numbers, since when.
        remedy: the command or step that resolves it.
    """

    cause: str
    kind: str
    title: str
    facts: tuple[str, ...]
    remedy: str

    @property
    def message(self) -> Message:
        """What people read."""
        facts = [anonymous(fact) for fact in self.facts]
        text = "\n".join([*facts, "", f"Next: {self.remedy}.", f"More: docs/runbook.md#{anchor(self.kind)}"])
        return Message(self.title, text)


@dataclass(frozen=True)
class Failure:
    """A failed step that no later run has made good, as Dagster recorded it; `site` is empty for jobs of all sites."""

    site: str
    jobs: tuple[str, ...]
    partitions: tuple[str, ...]
    step: str
    error: str
    text: str
    run_id: str
    failed_at: datetime


def anchor(kind: str) -> str:
    """Where the runbook tells of a kind of cause."""
    return re.sub(r"[^a-z0-9 _-]", "", kind).replace(" ", "-")


def anonymous(text: str) -> str:
    """A sentence on one line without e-mails, which user names are, too."""
    text = " ".join(re.sub(r"[^\s@<>\"'(),;:`]+@[^\s@<>\"'(),;:`]+", "(e-mail)", text).split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


# --- causes ----------------------------------------------------------------------------------------------------------


def causes(bridge: Bridge, failures: Iterable[Failure]) -> list[Alert]:
    """Everything that needs a person now.

    Args:
        bridge: the configured bridge.
        failures: failed steps that no later run has made good.
    """
    now, found = bridge.clock(), list[Alert]()
    known = list(failures)
    for site in bridge.settings.sites:
        with bridge.warehouse.connect() as con:
            stops = {name: why for name, (state, why) in safety.states(con, site).items() if state == "stopped"}
            waiting = ledger.lines_in(con, site, "priced")
            found += [_stopped(site, phase, why, waiting) for phase, why in stops.items()]
            found += _held(site, ledger.lines_in(con, site, "held"))
            found += _seats(bridge, con, site)
            excused = {PHASE_STEPS[phase] for phase in stops}
            # A closed gate fails its step in every run: the stop is the cause, and told already.
            known = [
                each for each in known
                if not (each.site == site and each.error == "UnsafeError" and each.step in excused)
            ]  # fmt: skip
            if not stops and not any(each.site == site for each in known):
                found += _stale(bridge, con, site, now)
    return found + [_failed(each) for each in known]


def _stopped(site: str, phase: str, why: str, waiting: pl.DataFrame) -> Alert:
    facts = [f"Why: {why}."]
    if phase == "charges":
        cents = waiting["amount_cents"].sum()
        facts.append(f"{findings.counted(waiting.height, 'charge')} ({cents} cents) and all later jobs wait meanwhile.")
    return Alert(
        f"{site} stopped {phase}", f"stopped: {phase}", f"{site}: stopped for {phase}", tuple(facts),
        f"look at the reason, then `printbridge resume {site} {phase}`",
    )  # fmt: skip


def held_reason(line: dict[str, Any]) -> str:
    """Why a line is held: the rule that held it, or what it was about to do in Nexudus when it was held later on."""
    return line["rule"] if line["n"] == 0 else line["kind"]


def _held(site: str, lines: pl.DataFrame) -> list[Alert]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for line in lines.iter_rows(named=True):
        groups.setdefault(held_reason(line), []).append(line)
    alerts: list[Alert] = []
    for reason, rows in groups.items():
        ids = sorted({row["coworker_id"] for row in rows} - {None})
        more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
        facts = (
            f"Customers: {', '.join(map(str, ids[:SHOWN])) or 'none known'}{more}.",
            f"{findings.counted(len(rows), 'charge')}, {sum(row['amount_cents'] for row in rows)} cents,"
            f" the first since {min(row['happened_at'] for row in rows):%Y-%m-%d %H:%M} UTC.",
            f"{rows[0]['ref']}: {rows[0]['reason']}.",
        )
        title = f"{site}: {findings.counted(len(rows), 'charge')} held ({reason})"
        alerts.append(Alert(f"{site} held {reason}", f"held: {reason}", title, facts,
                            f"`printbridge held list --site {site}`"))  # fmt: skip
    return alerts


def _seats(bridge: Bridge, con: Connection, site: str) -> list[Alert]:
    seats = bridge.settings.site(site).licence_users
    users = warehouse.read(con, "papercut_users", site).height
    wanted = warehouse.read(con, "print_accounts", site).filter(pl.col("reason").is_null()).height
    if not seats or not users:
        return []
    finding = findings.licence(seats, users, wanted)
    if finding.status == "pass":
        return []
    title = "no seat is left" if finding.status == "fail" else "licence seats are running out"
    return [
        Alert(f"{site} seats {finding.status}", "seats", f"{site}: {title}", (f"{finding.seen}.",),
              f"{finding.remedy}; then raise licence_users in bridge.toml, and `printbridge plan --site {site}`")
    ]  # fmt: skip


def _stale(bridge: Bridge, con: Connection, site: str, now: datetime) -> list[Alert]:
    """No run has come to its end for too long; a site that never began is not stale."""
    settings = bridge.settings
    limit = max(timedelta(hours=settings.alerts.stale_hours), 2 * timedelta(minutes=settings.complete_read_minutes))
    rows = warehouse.query(
        con, "SELECT name, happened_at FROM bookmark WHERE site = $site AND name IN ('seen', 'started_at')", site=site
    )
    at = dict(rows.iter_rows())
    last = at.get("seen") or at.get("started_at")
    if last is None or now - last < limit:
        return []
    hours = (now - last) / timedelta(hours=1)
    begun = "" if "seen" in at else " (a run began then and never finished)"
    return [
        Alert(f"{site} stale", "stale", f"{site}: no finished run for {hours:.0f} hours",
              (f"The last one ended {last:%Y-%m-%d %H:%M} UTC{begun}; users and charges stand still since.",),
              f"see that `printbridge dev` runs and its schedules are on; `printbridge run --site {site}` does it once")
    ]  # fmt: skip


def _failed(failure: Failure) -> Alert:
    where = failure.site or "all sites"
    many = len(failure.partitions)
    partitions = ", ".join(failure.partitions[:SHOWN]) + (f" and {many - SHOWN} more" if many > SHOWN else "")
    facts = (
        f"Step {failure.step} of {', '.join(failure.jobs)}" + (f", partition {partitions}." if partitions else "."),
        f"{failure.error}: {failure.text}",
        f"Last failed {failure.failed_at:%Y-%m-%d %H:%M} UTC, run {failure.run_id}.",
    )
    again = f"`printbridge run --site {failure.site}`" if failure.site else "rerun it in the Dagster UI, page Runs"
    return Alert(
        f"{failure.site or '*'} failed {failure.step} {failure.error}", "run failed",
        f"{where}: {failure.step} failed", facts, f"do what the text says, then {again}; the schedule also tries again",
    )  # fmt: skip


# --- telling ---------------------------------------------------------------------------------------------------------


def tell(bridge: Bridge, alerts: Sequence[Alert]) -> list[str]:
    """Send what was not told yet, or not for a day, and remember it; a channel that fails is tried again next time.

    Args:
        bridge: the configured bridge.
        alerts: all causes that stand now; what is not among them has ended.

    Returns:
        What was sent, and which channel failed and why.
    """
    said: list[str] = []
    now = bridge.clock()
    with site_lock(bridge.home.locks, LOCK, wait_seconds=30):
        memory: dict[str, dict[str, str]] = json.loads(bridge.warehouse.bookmark("*", MEMORY) or "{}")
        told = {alert.cause: dict(memory.get(alert.cause, {})) for alert in alerts}
        for channel, send in channels(bridge.settings.alerts).items():
            for alert in alerts:
                if not _is_due(told[alert.cause].get(channel), now):
                    continue
                try:
                    send(alert.message, now)
                except BridgeError as error:
                    said.append(f"{channel} failed: {error}")
                    log.warning("%s failed: %s", channel, error)
                    if not isinstance(error, RejectedError):  # one message was refused, or nothing gets through
                        break
                else:
                    told[alert.cause][channel] = now.isoformat()
                    said.append(f"told by {channel}: {alert.title}")
        if told != memory:
            with bridge.warehouse.transaction() as con:
                warehouse.set_bookmark(con, "*", MEMORY, json.dumps(told), now)
    return said


def _is_due(last: str | None, now: datetime) -> bool:
    return last is None or now - datetime.fromisoformat(last) >= REMIND_AFTER


def test_message(bridge: Bridge) -> list[tuple[str, BridgeError | None]]:
    """Send a test message over every channel; each with the error that stopped it, if one did.

    Raises:
        ConfigError: no channel is configured.
    """
    ways = channels(bridge.settings.alerts)
    if not ways:
        raise ConfigError(
            "bridge.toml names nobody to be told", "fill in smtp_host, from_address and to, or webhook_env, in [alerts]"
        )
    message = Message("a test message", "Nothing is wrong: this is what `printbridge alerts test` sends.")
    done: list[tuple[str, BridgeError | None]] = []
    for name, send in ways.items():
        try:
            send(message, bridge.clock())
            done.append((name, None))
        except BridgeError as error:
            done.append((name, error))
    return done
