"""The order of intents, calls and answers, whatever ends the calls; and what an error means for an effect.

What belongs here: `pipeline.effects.effect` with effects that only write down what happens. What does not: sales and
users that go through it (`test_charges.py`, `test_users.py`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.effects.effect import Kind, Outcome, after_write, attempt, pipelined
from pipeline.errors import (
    ConfigError,
    MissingError,
    PermanentError,
    PrintbridgeError,
    RejectedError,
    TransientError,
    UnknownOutcomeError,
    UnsafeError,
)

Answered = list[tuple[int, Outcome]]


@dataclass
class Course:
    """What happened, in order; calls for the items in `halting` end the calls, the turn number `breaking` fails."""

    halting: frozenset[int] = frozenset()
    breaking: int = -1
    intended: set[int] = field(default_factory=set[int])
    called: list[int] = field(default_factory=list[int])
    stored: Answered = field(default_factory=Answered)
    unstored: list[int] = field(default_factory=list[int])
    turns: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def call(self, item: int) -> Outcome:
        with self.lock:
            assert item in self.intended, f"{item} was called before its intent was stored"
            self.called.append(item)
        time.sleep(0.0002 * (item % 3))
        if item in self.halting:
            return Outcome("undone", str(item), halt=TransientError(f"halt {item}", ""))
        return Outcome("done", str(item))

    def turn(self, answered: Answered, begun: Sequence[int]) -> None:
        self.turns += 1
        if self.turns == self.breaking:
            raise RuntimeError("the disk is full")
        for item, outcome in answered:
            wanted = "after: halt" if outcome.kind == "not tried" else str(item)
            assert wanted in outcome.detail, f"{item} was given the outcome of another call: {outcome}"
        with self.lock:
            self.stored += answered
            self.intended |= set(begun)
        self.unstored.append(len(self.intended) - len(self.stored))

    def run(self, number: int, chunk: int, connections: int, *, first_alone: bool = False) -> PrintbridgeError | None:
        return pipelined(
            range(number), self.call, self.turn, chunk=chunk, connections=connections, first_alone=first_alone
        )


@settings(max_examples=60)
@given(
    number=st.integers(0, 40), chunk=st.integers(1, 9), connections=st.integers(1, 5),
    halting=st.frozensets(st.integers(0, 39), max_size=3), first_alone=st.booleans(),
)  # fmt: skip
def test_every_call_follows_its_intent_and_every_answer_is_stored_once(
    number: int, chunk: int, connections: int, halting: frozenset[int], first_alone: bool
) -> None:
    course = Course(halting)
    halt = course.run(number, chunk, connections, first_alone=first_alone)
    called = [item for item, outcome in course.stored if outcome.kind != "not tried"]
    if halting & set(range(number)):
        assert halt in [outcome.halt for _, outcome in course.stored if outcome.halt], "a halt that no call had"
    else:
        assert (halt, len(course.called)) == (None, number)
    assert sorted(course.intended) == [item for item, _ in course.stored], "an intent has no answer, or two"
    assert sorted(course.called) == called
    assert max(course.unstored, default=0) <= 2 * chunk, "more is under way than a killed run may leave"


def test_after_an_error_that_ends_the_calls_none_begins() -> None:
    course = Course(frozenset({10}))
    halt = course.run(1000, 100, 1)
    assert halt is not None
    assert halt.tried == "halt 10"
    assert course.called == list(range(11)), "calls went on after the one that ended them"
    assert len(course.intended) <= 200


def test_the_first_of_several_errors_is_the_one_that_ends_the_calls() -> None:
    halt = Course(frozenset({3, 4, 5})).run(9, 3, 1)
    assert halt is not None
    assert halt.tried == "halt 3"


def test_the_first_call_is_stored_before_any_other_leaves() -> None:
    course = Course()

    def call(item: int) -> Outcome:
        if item == 0:
            time.sleep(0.2)  # long enough for the other connections to overtake it
        else:
            with course.lock:
                assert [each for each, _ in course.stored][:1] == [0], f"{item} left before the first call was stored"
        return course.call(item)

    assert pipelined(range(50), call, course.turn, chunk=10, connections=5, first_alone=True) is None
    assert sorted(course.called) == list(range(50))


def test_a_surprise_at_the_first_call_happens_once() -> None:
    course = Course(frozenset({0}))
    halt = course.run(50, 10, 5, first_alone=True)
    assert halt is not None
    assert (course.called, course.intended) == ([0], {0}), "others were begun before the first call had its answer"


def test_the_next_intents_are_stored_while_calls_are_under_way() -> None:
    course, second = Course(), threading.Event()

    def call(item: int) -> Outcome:
        if item == 0:
            assert second.wait(30), "the first chunk had to end before the second one's intents were stored"
        return course.call(item)

    def turn(answered: Answered, begun: Sequence[int]) -> None:
        course.turn(answered, begun)
        if course.turns == 2:
            second.set()

    assert pipelined(range(60), call, turn, chunk=20, connections=2) is None
    assert sorted(course.called) == list(range(60))


def test_what_has_not_left_never_does_when_answers_cannot_be_stored() -> None:
    course, broken = Course(breaking=3), threading.Event()

    def call(item: int) -> Outcome:
        outcome = course.call(item)
        if item >= 100:  # under way when the disk is found to be full, and for some time after it
            assert broken.wait(30)
            time.sleep(0.5)
        return outcome

    def turn(answered: Answered, begun: Sequence[int]) -> None:
        try:
            course.turn(answered, begun)
        except RuntimeError:
            broken.set()
            raise

    with pytest.raises(RuntimeError, match="disk is full"):
        pipelined(range(1000), call, turn, chunk=100, connections=2)
    assert course.stored == []
    assert len(course.called) == 102, "calls went on although no answer can be stored any more"


@pytest.mark.parametrize(
    ("error", "kind", "halts"),
    [
        (RejectedError, "refused", False),
        (MissingError, "refused", False),
        (UnknownOutcomeError, "unknown", False),
        (TransientError, "undone", True),
        (PermanentError, "undone", True),
        (ConfigError, "undone", True),
        (UnsafeError, "undone", True),
    ],
)
def test_what_an_error_means_for_an_effect(error: type[PrintbridgeError], kind: Kind, halts: bool) -> None:
    raised = error("POST sale", "look")

    def effect() -> Outcome:
        raise raised

    assert attempt(effect) == Outcome(kind, str(raised), halt=raised if halts else None)
    with pytest.raises(UnknownOutcomeError, match="POST sale, after the write before it was done"):
        after_write(effect)
