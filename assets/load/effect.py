"""One attempt at one effect, the ledger state that its outcome leaves, and many effects chunk by chunk.

What belongs here: the translation of an error into a state, in one place, storing the answers of a chunk, and the order
of intents, calls and answers. What does not: the effects themselves.
"""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Protocol, TypeVar

import dagster as dg

from pipeline import ledger, runs
from pipeline.errors import (
    BridgeError,
    MissingError,
    PermanentError,
    RejectedError,
    TransientError,
    UnknownOutcomeError,
)
from pipeline.resources import Bridge

T = TypeVar("T")


class Result(Protocol):
    """What became of one effect; `halt` is an error after which no further effect is tried."""

    @property
    def halt(self) -> BridgeError | None:
        """The error, or None."""
        ...


R = TypeVar("R", bound=Result)


class Answer(NamedTuple):
    """What became of the effect behind a ledger line. `halt` is an error after which no further effect is tried."""

    ref: str
    state: str
    remote_id: int | None
    detail: str
    halt: BridgeError | None = None


def is_dry(context: dg.AssetExecutionContext, bridge: Bridge) -> bool:
    """Whether this run must not write to a service."""
    return bridge.settings.mode == "dry_run" or runs.is_dry(context.run)


def attempt(ref: str, effect: Callable[[], Answer]) -> Answer:
    """Try an effect once.

    Refused with a reason: held. Definitely not done (throttled, no connection, not signed in): back to priced, and the
    run stops sending. Everything else: unknown, to be looked up after the settle time (`money-safety.md` 3.2).
    """
    try:
        return effect()
    except (RejectedError, MissingError) as error:
        return Answer(ref, "held", None, str(error))
    except UnknownOutcomeError as error:
        return Answer(ref, "unknown", None, str(error))
    except (TransientError, PermanentError) as error:
        return Answer(ref, "priced", None, str(error), error)


def after_write(call: Callable[[], T]) -> T:
    """What follows a write that was done: a call that fails here leaves the outcome unknown, not undone.

    Raises:
        UnknownOutcomeError: in place of every other error of `call`.
    """
    try:
        return call()
    except BridgeError as error:
        raise UnknownOutcomeError(f"{error.tried}, after the write before it was done", error.remedy) from error


def pipelined(
    items: Sequence[T],
    call: Callable[[T], R],
    leave: Callable[[T, BridgeError], R],
    turn: Callable[[list[tuple[T, R]], Sequence[T]], None],
    *,
    chunk: int,
    connections: int,
) -> None:
    """Call for each item, intents before the first call; the calls of one chunk go on while the one before is stored.

    Args:
        items: what to call for, in order.
        call: one effect; it must not raise a BridgeError.
        leave: the result for an item that is not called for any more, and the error that ended the calls.
        turn: stores the results of an earlier chunk and the intents of the next one; either may be empty.
        chunk: how many items share a turn; a run that is killed leaves at most two chunks without an answer.
        connections: calls at once.

    Raises:
        BridgeError: the first error after which nothing more may be tried, once every result is stored.
    """
    halts: list[BridgeError] = []
    flying: deque[tuple[Sequence[T], list[Future[R]]]] = deque()

    def once(item: T) -> R:
        if halts:
            return leave(item, halts[0])
        result = call(item)
        if result.halt:
            halts.append(result.halt)
        return result

    chunks = [items[start : start + chunk] for start in range(0, len(items), chunk)]
    with ThreadPoolExecutor(connections) as pool:
        try:
            for each in [*chunks, (), ()]:  # two more turns, for the chunks that still fly
                asked, answers = flying.popleft() if len(flying) == 2 else ((), [])
                answered = [(item, answer.result()) for item, answer in zip(asked, answers, strict=True)]
                begun = () if halts else each
                if answered or begun:
                    turn(answered, begun)
                flying.append((begun, [pool.submit(once, item) for item in begun]))
        except BaseException:
            pool.shutdown(cancel_futures=True)  # what did not leave yet never does; its intent is looked up
            raise
    if halts:
        raise halts[0]


def store(bridge: Bridge, run_id: str, answers: Sequence[Answer]) -> None:
    """Store some answers in one transaction.

    Raises:
        BridgeError: the first error after which nothing more may be tried, once every answer is stored.
    """
    with bridge.warehouse.transaction() as con:
        settle(con, answers, bridge.mover(run_id, "dispatcher"))
    for answer in answers:
        if answer.halt:
            raise answer.halt


def settle(con: ledger.Connection, answers: Sequence[Answer], mover: ledger.Mover) -> None:
    """Move each line to the state of its answer, inside the caller's transaction."""
    for state in dict.fromkeys(answer.state for answer in answers):
        rows = [(answer.ref, answer.remote_id, answer.detail) for answer in answers if answer.state == state]
        ledger.move(con, ledger.moves_of(rows), state, mover)
