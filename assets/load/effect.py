"""One attempt at one effect, and the ledger state that its outcome leaves.

What belongs here: the translation of an error into a state, in one place, and storing the answers of a chunk. What does
not: the effects themselves.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

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


def store(bridge: Bridge, run_id: str, answers: Sequence[Answer]) -> None:
    """Store the answers of a chunk in one transaction.

    Raises:
        BridgeError: the first error after which nothing more may be tried, once every answer is stored.
    """
    with bridge.warehouse.transaction() as con:
        mover = bridge.mover(run_id, "dispatcher")
        for state in dict.fromkeys(answer.state for answer in answers):
            rows = [(answer.ref, answer.remote_id, answer.detail) for answer in answers if answer.state == state]
            ledger.move(con, ledger.moves_of(rows), state, mover)
    for answer in answers:
        if answer.halt:
            raise answer.halt
