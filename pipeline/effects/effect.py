"""One effect on a service: what came of it, the only translation of an error into that, and the one way to make many.

What belongs here: `Outcome`, `attempt`, the order of intents, calls and answers, and the state in which an outcome
leaves a ledger line. What does not: the effects themselves, and what an outcome means for a user or a flag.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal, NamedTuple, TypeVar

from pipeline.errors import MissingError, PrintbridgeError, RejectedError, UnknownOutcomeError
from pipeline.site import Site
from pipeline.store import ledger
from pipeline.store.warehouse import Connection

T = TypeVar("T")

CONNECTIONS = 4
"""Calls to Nexudus at a time; for print systems it is a setting."""

Kind = Literal["done", "skipped", "held", "refused", "partly", "undone", "not tried", "unsure", "unknown", "altered"]
"""What came of an effect, in the words of the histories.

    done, skipped      it was done; there was nothing to do any more
    held               a person decides, nothing was done
    refused, partly    the service refused it, or a later part of it; the next effect may work
    undone, not tried  something stopped it, or an error before it did; a later run does it
    unsure             it was done, and what it led to is to be observed again
    unknown            it may have been done: observe or look up, never repeat
    altered            it was done, and something else changed as well
"""


class Outcome(NamedTuple):
    """What came of one effect.

    Attributes:
        kind: see `Kind`.
        detail: what was done, or why not, for the histories.
        remote_id: the id that the service gave, where it gave one.
        halt: an error after which no further effect is tried.
    """

    kind: Kind
    detail: str = ""
    remote_id: int | None = None
    halt: PrintbridgeError | None = None

    def told(self, verb: str = "tried") -> str:
        """The detail for a history; of what was not tried in its own word: a user is not tried, a sale is not sent."""
        return f"not {verb} any more, {self.detail}" if self.kind == "not tried" else self.detail


def attempt(effect: Callable[[], Outcome]) -> Outcome:
    """Try an effect once, and say what came of it (`money-safety.md` 3.2).

    Refused with a reason: nothing was done, the next effect may work. Definitely not done for another reason
    (throttled, no connection, not signed in): nothing else is tried. A lost answer is unknown, and observed or looked
    up before anything is sent again.
    """
    try:
        return effect()
    except (RejectedError, MissingError) as error:
        return Outcome("refused", str(error))
    except UnknownOutcomeError as error:
        return Outcome("unknown", str(error))
    except PrintbridgeError as error:
        return Outcome("undone", str(error), halt=error)


def after_write(call: Callable[[], T]) -> T:
    """What follows a write that was done: a call that fails here leaves the outcome unknown, not undone.

    Raises:
        UnknownOutcomeError: in place of every other error of `call`.
    """
    try:
        return call()
    except PrintbridgeError as error:
        raise UnknownOutcomeError(f"{error.tried}, after the write before it was done", error.remedy) from error


def not_tried(halt: PrintbridgeError) -> Outcome:
    """The outcome of an effect that was not tried, because of an error before it."""
    return Outcome("not tried", f"after: {halt.tried}")


def pipelined(
    items: Sequence[T],
    call: Callable[[T], Outcome],
    turn: Callable[[list[tuple[T, Outcome]], Sequence[T]], None],
    *,
    chunk: int,
    connections: int,
    first_alone: bool = False,
) -> PrintbridgeError | None:
    """Call for each item, intents before the first call; the calls of one chunk go on while the one before is stored.

    Args:
        items: what to call for, in order.
        call: one effect; it must not raise a PrintbridgeError.
        turn: stores the outcomes of an earlier chunk and the intents of the next one; either may be empty.
        chunk: how many items share a turn; a run that is killed leaves at most two chunks without an answer.
        connections: calls at once.
        first_alone: whether the first item is called for before any other, so that a surprise happens once.

    Returns:
        The first error after which nothing more was tried, once every outcome is stored; None where all were tried.
    """
    halts: list[PrintbridgeError] = []
    flying: deque[tuple[Sequence[T], list[Future[Outcome]]]] = deque()

    def once(item: T) -> Outcome:
        if halts:
            return not_tried(halts[0])
        outcome = call(item)
        if outcome.halt:
            halts.append(outcome.halt)
        return outcome

    with ThreadPoolExecutor(connections) as pool:
        try:
            for each in _chunks(items, chunk, first_alone=first_alone):
                asked, answers = flying.popleft() if len(flying) == 2 else ((), [])
                answered = [(item, answer.result()) for item, answer in zip(asked, answers, strict=True)]
                begun = () if halts else each
                if answered or begun:
                    turn(answered, begun)
                flying.append((begun, [pool.submit(once, item) for item in begun]))
        except BaseException:
            pool.shutdown(cancel_futures=True)  # calls that wait are never made; their intents are looked up
            raise
    return halts[0] if halts else None


def _chunks(items: Sequence[T], size: int, *, first_alone: bool) -> Iterator[Sequence[T]]:
    """The chunks in order, and an empty one for each of the two that still fly at the end."""
    begin = 1 if first_alone else 0
    if first_alone and items:
        yield from (items[:1], (), ())  # stored before the next chunk leaves
    yield from (items[start : start + size] for start in range(begin, len(items), size))
    yield from ((), ())


STATES: dict[Kind, str] = {
    "done": "confirmed", "held": "held", "refused": "held", "undone": "priced", "not tried": "priced",
    "unknown": "unknown",
}  # fmt: skip
"""The state in which each outcome leaves the ledger line behind an effect."""


def settle(con: Connection, outcomes: Iterable[tuple[str, Outcome]], mover: ledger.Mover) -> None:
    """Move each line (by its reference) to the state of its outcome, inside the caller's transaction."""
    moves: dict[str, list[tuple[str, int | None, str]]] = {}
    for ref, outcome in outcomes:
        moves.setdefault(STATES[outcome.kind], []).append((ref, outcome.remote_id, outcome.told("sent")))
    for state, rows in moves.items():
        ledger.move(con, ledger.moves_of(rows), state, mover)


def store(site: Site, run_id: str, outcomes: Sequence[tuple[str, Outcome]]) -> None:
    """Store some outcomes in one transaction.

    Raises:
        PrintbridgeError: the first error after which nothing more may be tried, once every outcome is stored.
    """
    if outcomes:
        site.store.commit(lambda con: settle(con, outcomes, site.mover(run_id, "dispatcher")))
    for _, outcome in outcomes:
        if outcome.halt:
            raise outcome.halt
