"""The replay: ways that the model goes are passed over, and each way to spoil one is told with the line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pipeline.store.ledger import TRANSITIONS
from tests.campaign.history import Event, Line, cause
from tests.campaign.replay import known, strange

BEGIN = datetime(2026, 11, 2, 9, tzinfo=UTC)
SENT = ("sending", 0, "one", "POST coworkerproducts")
FAILED = "POST billing/coworkerproducts: Nexudus answered HTTP 500 (Ooops)"
FOUND = ("confirmed", 16, "two", "found in Nexudus by its reference")

Told = tuple[str, float, str, str]
"""A state, after how many minutes, by which run, in which words."""


def line(*told: Told, kind: str = "sale", ref: str = "S", undoes: str | None = None, revision: int = 0) -> Line:
    """A line that was entered by run `one` and then went as told."""
    events: list[Event] = []
    for state, minutes, run, words in (("priced", 0, "one", "money"), *told):
        event = Event("", state, BEGIN + timedelta(minutes=minutes), run, words)
        events.append(event._replace(cause=cause(kind, events[-1] if events else None, event)))
    return Line(ref, "7", revision, kind, "money", undoes, None, 101, 40, BEGIN, tuple(events))


def test_a_way_that_the_model_goes_is_not_strange() -> None:
    told = [SENT, ("unknown", 1, "two", "POST"), ("priced", 17, "three", "absent"), ("sending", 18, "three", "POST")]
    twice = line(*told, ("unknown", 18, "three", FAILED), ("confirmed", 34, "four", "found"))
    assert twice.causes == ("entered", "sent", "orphaned", "absent", "sent", "failed", "found")
    assert strange([twice]) == []


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ([SENT, ("priced", 1, "one", FAILED)], "to priced by 'failed'"),
        ([SENT, ("confirmed", 1, "one", '{"mode": "ledger"}')], "to confirmed by 'ignored'"),
        ([SENT, ("confirmed", 1, "two", "Nexudus created the sale")], "by 'an answer to another run'"),
        ([SENT, ("unknown", 1, "one", "Nexudus answered HTTP 429 (slow down)")], "to unknown by 'throttled'"),
        ([SENT, ("unknown", 1, "one", FAILED), ("confirmed", 9, "two", "found")], "0:08:00 after it was lost"),
        ([("held", 1, "one", "who knows"), ("void", 2, "one", "?")], "to held by 'contradicted'"),
    ],
)
def test_a_way_that_the_model_never_goes_is_told(told: list[Told], why: str) -> None:
    (sentence,) = strange([line(*told)])
    assert why in sentence
    assert "sale S of job 7: priced (entered) > " in sentence


def test_a_reversal_waits_for_its_charge_and_a_new_charge_for_the_reversal() -> None:
    lost = line(SENT, ("unknown", 1, "one", FAILED), FOUND)
    undo = line(("sending", 2, "two", "DELETE"), ("confirmed", 3, "two", "gone"), kind="undo_sale", ref="R", undoes="S")
    new = line(("sending", 2, "two", "POST"), ("confirmed", 3, "two", "made"), ref="S2", revision=1)
    first, second = strange([lost, undo, new])
    assert first.startswith("a reversal was sent while its charge was unknown")
    assert second.startswith("a charge was sent while R was to take back the one before it")


def test_the_model_takes_every_step_that_the_ledger_allows_but_for_some() -> None:
    """A new transition of the ledger needs a step in the model, or no replay could pass over it."""
    every = {(state, to) for state, targets in TRANSITIONS.items() for to in targets}
    free = {(None, "confirmed")}  # what is free, and recovered sales
    unused = {("confirmed", "void")}  # nothing of ours leads there
    assert every - {(step.state, step.to) for step in known()} - free == unused
