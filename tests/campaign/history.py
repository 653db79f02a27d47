"""What a ledger tells about each of its lines: the way it went, step by step, and what caused each step.

What belongs here: reading the events of all lines, and the cause of each, told from its states, its words and its run.
What does not: which steps may be (`replay.py`), and which ways a campaign must have seen (`states.py`).

The causes have the names that the exhaustive model gives to its own steps (`model.py`, `people.py`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from pipeline.store.lines import RETRY
from pipeline.store.sql import Connection

HALTED = re.compile("HTTP (429|409) ")
FAILED = re.compile("HTTP [345]")
NOT_DONE = ("GET ", "HTTP 401 ", "nothing was sent", "the credit was changed in Nexudus at this moment")
"""What says that a write was never made: it was not reached, not let in, or a read before it failed."""
LATER = "after the write before it was done"
CROSSED = "a change in Nexudus crossed"
ON_LEDGER = '"mode": "ledger"'
BEFORE_SENDING = {"is on invoice": "invoiced", "without naming a sale": "by hand", "no longer exists": "vanished",
                  "was lowered": "lowered", "was written to under": "written before"}  # fmt: skip
"""What stops a line that waits to be sent, by words of its reason."""

CANCELLED = ("the job changed before anything was sent", "nothing had been charged")
HANDS = {"recover": "recovered", "command": "person", RETRY: "person"}
"""Who moved a line, where it was no run."""

FOUND = {"sale": "found", "undo_sale": "gone", "credit": "proved", "undo_credit": "proved"}
"""What a look-up calls a line of each kind that is done."""
ABSENT = {"sale": "absent", "undo_sale": "there", "credit": "unchanged", "undo_credit": "unchanged"}


class Event(NamedTuple):
    """One event of a line: what caused it, and the state that it left."""

    cause: str
    state: str
    at: datetime
    run_id: str
    detail: str


@dataclass(frozen=True)
class Line:
    """One line of the ledger with all its events, oldest first."""

    ref: str
    job_id: str
    revision: int
    kind: str
    rule: str
    undoes: str | None
    credit_id: int | None
    coworker_id: int | None
    amount_cents: int
    printed_at: datetime
    events: tuple[Event, ...]

    @cached_property
    def causes(self) -> tuple[str, ...]:
        """Its way, by the causes alone."""
        return tuple(event.cause for event in self.events)

    @property
    def state(self) -> str:
        """Where it is now."""
        return self.events[-1].state

    def at(self, moment: datetime) -> str | None:
        """The state that it had at a moment; None before it was entered."""
        return next((event.state for event in reversed(self.events) if event.at <= moment), None)

    def told(self) -> str:
        """Its way in words, for a message."""
        way = " > ".join(f"{event.state} ({event.cause})" for event in self.events)
        return f"{self.kind} {self.ref} of job {self.job_id}: {way}"


def lines(con: Connection, site: str = "london") -> list[Line]:
    """Every line of a site, by reference."""
    rows = con.execute(
        "SELECT c.ref, c.job_id, c.revision, c.kind, c.rule, c.undoes, c.credit_id, c.coworker_id, c.amount_cents,"
        " c.printed_at, list({'s': e.state, 'a': e.happened_at, 'r': e.run_id, 'd': e.detail} ORDER BY e.n)"
        " FROM charge c JOIN charge_event e USING (ref) WHERE c.site = $site GROUP BY ALL ORDER BY c.ref",
        {"site": site},
    ).fetchall()
    return [Line(*row[:10], _events(row[3], row[10])) for row in rows]


def _events(kind: str, raw: list[dict[str, object]]) -> tuple[Event, ...]:
    known = [Event("", each["s"], each["a"], each["r"], each["d"]) for each in raw]  # type: ignore[arg-type]
    causes = [cause(kind, before, event) for before, event in pairwise([None, *known])]
    return tuple(event._replace(cause=why) for event, why in zip(known, causes, strict=True))


def cause(kind: str, before: Event | None, event: Event) -> str:
    """What caused an event of a line of this kind; words that no step of the model has where nothing fits."""
    if hand := HANDS.get(event.run_id):
        return hand
    match before.state if before else None:
        case None:
            why = {"priced": "entered", "held": "asked"}.get(event.state, "waived")
        case "priced":
            why = _of_priced(kind, event)
        case "sending":
            why = _answer(event, same_run=before is not None and before.run_id == event.run_id)
        case "unknown":
            why = _looked_up(kind, event)
        case "held":
            why = "cancelled" if event.state == "void" else "back"
        case _:
            why = "invoiced" if event.state == "invoiced" else "deleted"
    return why


def _of_priced(kind: str, event: Event) -> str:
    match event.state:
        case "sending":
            return "sent"
        case "held":
            return next((why for words, why in BEFORE_SENDING.items() if words in event.detail), "contradicted")
        case "confirmed" if (
            "before anything was sent" not in event.detail and event.detail != "nothing had been charged"
        ):
            return "ignored" if ON_LEDGER in event.detail else FOUND[kind]
        case _:
            return "cancelled"


def _answer(event: Event, *, same_run: bool) -> str:
    """What the answer to a call was, in the model's words; an answer belongs to the run that asked."""
    if not same_run:
        return "orphaned" if event.state == "unknown" else "an answer to another run"
    match event.state:
        case "confirmed":
            return "ignored" if ON_LEDGER in event.detail else "ok"
        case "held":
            return "crossed" if CROSSED in event.detail else "refused"
        case "priced" if event.detail.startswith("not sent any more"):
            return "not tried"
        case "priced" if any(words in event.detail for words in NOT_DONE) and not HALTED.search(event.detail):
            return "not done"
        case _:
            return _lost(event.detail)


def _lost(detail: str) -> str:
    """What came instead of an answer that says what was done."""
    if LATER in detail or "HTTP" not in detail:
        return "unknown"
    if HALTED.search(detail):
        return "throttled"
    return "failed" if FAILED.search(detail) else "unreadable"


def _looked_up(kind: str, event: Event) -> str:
    if event.state == "confirmed":
        return "ignored" if ON_LEDGER in event.detail else FOUND[kind]
    if event.state == "priced":
        return ABSENT[kind]
    known = {"never answered": "worn out", CROSSED: "crossed", "is on invoice": "invoiced"}
    return next((why for words, why in known.items() if words in event.detail), "contradicted")
