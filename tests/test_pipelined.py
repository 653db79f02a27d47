"""The order of intents, calls and answers, whatever ends the calls.

What belongs here: `assets.load.effect.pipelined` with effects that only write down what happens. What does not: sales
and users that go through it (`test_effects.py`, `test_user_effects.py`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.load.effect import pipelined
from pipeline.errors import BridgeError, TransientError


class Result(NamedTuple):
    item: int
    called: bool
    halt: BridgeError | None = None


@dataclass
class Course:
    """What happened, in order; calls for the items in `halting` end the calls, the turn number `breaking` fails."""

    halting: frozenset[int] = frozenset()
    breaking: int = -1
    intended: set[int] = field(default_factory=set[int])
    called: list[int] = field(default_factory=list[int])
    stored: list[Result] = field(default_factory=list[Result])
    unstored: list[int] = field(default_factory=list[int])
    turns: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def call(self, item: int) -> Result:
        with self.lock:
            assert item in self.intended, f"{item} was called before its intent was stored"
            self.called.append(item)
        time.sleep(0.0002 * (item % 3))
        return Result(item, called=True, halt=TransientError(f"halt {item}", "") if item in self.halting else None)

    def leave(self, item: int, halt: BridgeError) -> Result:
        assert halt.tried.startswith("halt")
        return Result(item, called=False)

    def turn(self, answered: list[tuple[int, Result]], begun: Sequence[int]) -> None:
        self.turns += 1
        if self.turns == self.breaking:
            raise RuntimeError("the disk is full")
        assert all(item == result.item for item, result in answered)
        self.stored += [result for _, result in answered]
        with self.lock:
            self.intended |= set(begun)
        self.unstored.append(len(self.intended) - len(self.stored))

    def run(self, number: int, chunk: int, connections: int) -> None:
        pipelined(range(number), self.call, self.leave, self.turn, chunk=chunk, connections=connections)


@settings(max_examples=60)
@given(
    number=st.integers(0, 40), chunk=st.integers(1, 9), connections=st.integers(1, 5),
    halting=st.frozensets(st.integers(0, 39), max_size=3),
)  # fmt: skip
def test_every_call_follows_its_intent_and_every_answer_is_stored_once(
    number: int, chunk: int, connections: int, halting: frozenset[int]
) -> None:
    course = Course(halting)
    expected = sorted(halting & set(range(number)))
    if expected:
        with pytest.raises(TransientError, match="halt"):
            course.run(number, chunk, connections)
    else:
        course.run(number, chunk, connections)
        assert len(course.called) == number
    assert sorted(course.intended) == [result.item for result in course.stored], "an intent has no answer, or two"
    assert sorted(course.called) == [result.item for result in course.stored if result.called]
    assert max(course.unstored, default=0) <= 2 * chunk, "more is under way than a killed run may leave"


def test_after_an_error_that_ends_the_calls_none_begins() -> None:
    course = Course(frozenset({10}))
    with pytest.raises(TransientError, match="halt 10"):
        course.run(1000, 100, 1)
    assert course.called == list(range(11)), "calls went on after the one that ended them"
    assert len(course.intended) <= 200


def test_the_next_intents_are_stored_while_calls_are_under_way() -> None:
    course, second = Course(), threading.Event()

    def call(item: int) -> Result:
        if item == 0:
            assert second.wait(30), "the first chunk had to end before the second one's intents were stored"
        return course.call(item)

    def turn(answered: list[tuple[int, Result]], begun: Sequence[int]) -> None:
        course.turn(answered, begun)
        if course.turns == 2:
            second.set()

    pipelined(range(60), call, course.leave, turn, chunk=20, connections=2)
    assert sorted(course.called) == list(range(60))


def test_what_has_not_left_never_does_when_answers_cannot_be_stored() -> None:
    course, broken = Course(breaking=3), threading.Event()

    def call(item: int) -> Result:
        result = course.call(item)
        if item >= 100:  # under way when the disk is found to be full, and for some time after it
            assert broken.wait(30)
            time.sleep(0.5)
        return result

    def turn(answered: list[tuple[int, Result]], begun: Sequence[int]) -> None:
        try:
            course.turn(answered, begun)
        except RuntimeError:
            broken.set()
            raise

    with pytest.raises(RuntimeError, match="disk is full"):
        pipelined(range(1000), call, course.leave, turn, chunk=100, connections=2)
    assert course.stored == []
    assert len(course.called) == 102, "calls went on although no answer can be stored any more"
