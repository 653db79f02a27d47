"""People in the exhaustive model: what they do in Nexudus between two runs, and how they decide what is held.

What belongs here: an invoice, a top-up, a deleted sale, an older ledger that is recovered, and decisions "as the
servers show", which is what a reason of a held line asks for. What does not: the steps of a run (`model.py`).

Each is one event before a run. People look only when nothing is on its way any more, as the settle time asks of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.campaign.model import State, Walk

S, C, R, G = range(4)
SETTLED = ("confirmed", "invoiced")
FAULTS = (("none", "not tried"),)
"""A call of the same chunk was throttled, so this one was never made."""


def between_runs(walk: Walk, state: State, *, quiet: bool) -> Iterator[State]:
    """What people may do now, one thing at a time.

    Args:
        walk: takes the steps of lines.
        state: the state before.
        quiet: nothing is on its way, and lists show everything.
    """
    if state.stopped:
        return
    if state.puts and not state.topped:
        yield state._replace(topped=1)
    if not quiet:
        return
    if state.sales and not state.billed:
        yield state._replace(billed=True)
    if state.lines[S] in SETTLED and state.sales and not state.refunded and not state.struck:
        yield state._replace(sales=(), billed=False, struck=True)
    if "held" in state.lines:
        yield _decided(walk, state)
    if state.lines[S] and not state.restored and not state.struck and len(state.sales) <= 1:
        yield from _recovered(walk, state)


def noticed(walk: Walk, state: State) -> State:
    """What a run sees at its beginning of what people did: the sale is gone, or on an invoice."""
    if state.lines[S] in SETTLED and not state.sales and state.struck and state.lines[R] is None:
        return walk.move(state, S, "held", "deleted")
    if state.lines[S] == "confirmed" and state.billed:
        return walk.move(state, S, "invoiced", "invoiced")
    return state


def _decided(walk: Walk, state: State) -> State:
    """Every held line, decided as the servers show."""
    after = state
    if state.lines[S] == "held" and state.ruled == 1:
        after = _decided_again(walk, after)
    elif state.lines[S] == "held":
        after = walk.move(after, S, "confirmed" if state.sales else "priced", "person")
    if state.lines[R] == "held":
        after = walk.move(after, R, "confirmed" if state.billed else "priced", "person")
        after = after._replace(sales=(), billed=False) if state.billed else after  # a credit note
    for line in (C, G):
        if state.lines[line] == "held" and state.came[line] == "crossed":
            used = state.before + (1 if line == C else -1)
            after = walk.move(after, line, "confirmed", "person")._replace(used=used, marker=line, topped=0)
        elif state.lines[line] == "held":
            after = walk.move(after, line, "priced", "person")
    return after


def _decided_again(walk: Walk, state: State) -> State:
    """The line that a rule held is taken back, and its job starts anew."""
    after = state if state.lines[R] else walk.move(state, R, "priced", "person")
    after = walk.move(walk.move(after, S, "void", "person"), R, "confirmed", "person")
    lines, came = (None, after.lines[C], None, after.lines[G]), (None, after.came[C], None, after.came[G])
    return after._replace(lines=lines, came=came, ruled=2)


def _recovered(walk: Walk, state: State) -> Iterator[State]:
    """A backup is put back and recovered: from before the job, from before it was sent, from before it was refunded."""
    for older in ((None, None), ("priced", "priced"), ("confirmed", "confirmed")):
        if older[0] == "confirmed" and (not state.lines[R] or state.came[R] == "cancelled"):
            continue
        begin = state._replace(
            lines=(*older, None, None), ages=(0,) * 4, came=(older[0] and "entered",) * 4, restored=True, ruled=2
        )
        yield _credit_recovered(walk, _sale_recovered(walk, begin))


def _sale_recovered(walk: Walk, state: State) -> State:
    """A sale in Nexudus is proof; one that is gone, of a job that was refunded, is proof of its reversal."""
    if state.sales and state.lines[S] != "confirmed":
        state = state if state.lines[S] else walk.move(state, S, "priced", "recovered")
        return walk.move(state, S, "confirmed", "recovered")
    if not state.sales and state.lines[S] == "confirmed" and state.refunded:
        return walk.move(state, R, "confirmed", "recovered")
    return state


def _credit_recovered(walk: Walk, state: State) -> State:
    """A credit names its last line only: what else it may have done, a person compares with its number."""
    line, done = (G, state.used == 0) if state.lines[C] == "confirmed" else (C, state.used == 1)
    if state.lines[C] is None and state.refunded:
        if state.marker is None:
            return state
        line, done = state.marker, True
    if state.lines[line] == "priced" and state.marker == line:
        return walk.move(state, line, "confirmed", "recovered")
    after = walk.move(state, line, "held", "recovered")
    return walk.move(after, line, "confirmed" if done else "priced", "person")
