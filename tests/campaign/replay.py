"""The replay: every way that a line of a real ledger went, held against the ways of the exhaustive model.

What belongs here: which steps of lines the model takes, the conditions that it takes them under, and what a ledger
tells that it never does. What does not: the model (`model.py`), and reading a ledger (`history.py`).

A step is where a line was, what had brought it there, what took it on, and where to: an answer of a server leads where
the model says that it leads. Three conditions of the model are held against the times of the events as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import cache

from tests.campaign.history import Event, Line
from tests.campaign.model import KINDS, Step, Variant, Walk

SETTLE = timedelta(minutes=15)
LOOK_UPS = (
    "found",
    "absent",
    "gone",
    "there",
    "proved",
    "unchanged",
    "crossed",
    "worn out",
    "contradicted",
    "invoiced",
)
DONE = ("confirmed", "invoiced")
FREE = {"waived", "person", "cancelled", "recovered"}


@cache
def known() -> frozenset[Step]:
    """Every step that a line takes in the model, with people, one fault and one kill: more bring no further step.

    Raises:
        AssertionError: the model charges twice or loses a job, so nothing can be held against it.
    """
    walk = Walk(Variant(people=True))
    verdict = walk.verdict(1, 1)
    assert not verdict.double + verdict.lost, f"the model with people is wrong by itself: {verdict}"
    return frozenset(walk.steps)


def steps(line: Line) -> list[Step]:
    """The steps of a line, from its entry on."""
    none = Event("", "", line.events[0].at, "", "")
    before = [none, *line.events]
    came = [None, None, *line.causes]
    return [
        Step(line.kind, came[place], was.state or None, event.cause, event.state)
        for place, (was, event) in enumerate(zip(before, line.events, strict=False), 1)
    ]


def strange(lines: Sequence[Line]) -> list[str]:
    """What a ledger tells that the model never does, one sentence for each line."""
    by_ref, by_job = {line.ref: line for line in lines}, dict[str, list[Line]]()
    for line in lines:
        by_job.setdefault(line.job_id, []).append(line)
    found: list[str] = []
    for line in lines:
        why = _unknown_step(line) or _too_early(line) or _out_of_turn(line, by_ref, by_job[line.job_id])
        found += [f"{why}, which the model never does: {line.told()}"] if why else []
    return found


def visited(lines: Iterable[Line]) -> Counter[Step]:
    """How often each step was taken."""
    return Counter(step for line in lines if line.kind in KINDS for step in steps(line))


def _unknown_step(line: Line) -> str:
    if line.kind not in KINDS:  # what is free is entered as done, and taken back as done
        wrong = [why for why in line.causes if why not in FREE]
        return f"a line of what is free has the step {wrong[0]!r}" if wrong else ""
    for step in steps(line):
        if step not in known():
            came = f", where {step.came!r} had brought it," if step.came else ""
            return f"a line of kind {step.kind} went from {step.state}{came} to {step.to} by {step.cause!r}"
    return ""


def _too_early(line: Line) -> str:
    """A look-up before the settle time, which the model waits for."""
    for before, event in zip(line.events, line.events[1:], strict=False):
        if before.state == "unknown" and event.cause in LOOK_UPS and event.at - before.at < SETTLE:
            return f"an answer was looked up {event.at - before.at} after it was lost, before the settle time"
    return ""


def _out_of_turn(line: Line, by_ref: dict[str, Line], others: Sequence[Line]) -> str:
    """A reversal of what is not done, or a charge beside the one that it replaces."""
    for event in line.events:
        if event.cause != "sent":
            continue
        if line.undoes and line.undoes in by_ref and by_ref[line.undoes].at(event.at) not in DONE:
            return f"a reversal was sent while its charge was {by_ref[line.undoes].at(event.at)}"
        if not line.undoes and (pending := _pending(line, event, others)):
            return f"a charge was sent while {pending} was to take back the one before it"
    return ""


def _pending(line: Line, sent: Event, others: Sequence[Line]) -> str:
    """The reversal that a charge should have waited for; one that the same write carries out is none."""
    for each in others:
        if not each.undoes or each.undoes == line.ref or each.revision > line.revision:
            continue
        together = each.credit_id is not None and any(
            event.cause == "sent" and event.at == sent.at for event in each.events
        )
        if each.at(sent.at) in ("priced", "sending", "unknown", "held") and not together:
            return each.ref
    return ""
