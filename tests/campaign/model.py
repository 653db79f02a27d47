"""The charge ledger as a small machine, walked through every order of a few faults and kills.

What belongs here: the steps of a run as the code takes them, what a server may do to each, and the count of ways in
which the end is wrong. What does not: the states and who may move; those are `ledger.TRANSITIONS`, and a move that the
table forbids ends the walk.

One job is paid by a sale S and a credit use C; it may be refunded at any moment, which adds the reversals R and G. Time
is counted in runs: a late effect happens `late` runs after its call, and a list shows an effect `lag` runs after that.
Equal situations are walked once and counted as often as they are reached, so that every order is in the count. With
`people`, those who work in Nexudus and decide held lines take part (`people.py`), and each step of a line is kept with
its cause: a replay holds what a real ledger tells against these steps (`replay.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from pipeline.store.ledger import TRANSITIONS
from tests.campaign import people

FAULTS: dict[str, tuple[str, str]] = {
    "dropped before": ("none", "unknown"),
    "dropped after": ("now", "unknown"),
    "500 before": ("none", "failed"),
    "500 after": ("now", "failed"),
    "truncated answer": ("now", "unknown"),
    "HTML with status 200": ("now", "unreadable"),
    "late effect": ("late", "unknown"),
    "throttled": ("none", "throttled"),
    "no connection": ("none", "not done"),
    "refused with a reason": ("none", "refused"),
    "refused in a 200": ("none", "unreadable"),
}
"""What a server does with a write: when the effect happens, and what its answer means."""

ANSWERS = {"ok": "confirmed", "refused": "held", "throttled": "priced", "not done": "priced", "not tried": "priced"}
"""The state that an answer leaves; any other leaves `unknown`."""


class State(NamedTuple):
    """The ledger's four lines, the two servers, and what has happened to the job."""

    lines: tuple[str | None, ...] = (None, None, None, None)  # S, C, R, G
    ages: tuple[int, ...] = (0, 0, 0, 0)  # runs since the line became unknown
    sales: tuple[int, ...] = ()  # for each sale that exists, runs until lists show it
    posts: tuple[int, ...] = ()  # late sales, runs until they exist
    deletes: tuple[int, ...] = ()
    used: int = 0  # how often the credit was lowered, less how often raised
    marker: int | None = None  # the line whose reference is in the credit's notes
    before: int = 0  # what the credit had when it was last written to
    puts: tuple[tuple[int, int, int], ...] = ()  # late writes: runs until, then used and marker
    refunded: bool = False
    restored: bool = False
    stopped: bool = False
    # with people only
    came: tuple[str | None, ...] = (None, None, None, None)  # what brought each line to where it is
    ruled: int = 0  # 1: a rule holds S, 2: a person let the job be decided again
    lost: int = 0  # answers about S that were lost
    billed: bool = False  # the sale is on an invoice
    struck: bool = False  # somebody deleted the sale once
    topped: int = 0  # 1: the credit was topped up while a write was on its way, 2: and the write went over that


class Step(NamedTuple):
    """One step of one line: what brought it to where it was, and what takes it on."""

    kind: str
    came: str | None
    state: str | None
    cause: str
    to: str


@dataclass(frozen=True)
class Variant:
    """How the program behaves; the defaults are how it is meant to."""

    late: int = 2
    lag: int = 1
    settle: int = 3
    intent: bool = True
    looks_up: bool = True
    deterministic: bool = True
    adopts: bool = True
    proves: bool = True
    failed_read_back: str = "unknown"
    answers: Mapping[str, str] = field(default_factory=lambda: ANSWERS)
    restore: bool = False
    people: bool = False
    attempts: int = 2


class Verdict(NamedTuple):
    """Scenarios walked, and in how many of them the end was wrong."""

    scenarios: int
    double: int
    lost: int
    held: int


S, C, R, G = range(4)
KINDS = ("sale", "credit", "undo_sale", "undo_credit")
END = "end"
Ways = Iterator[tuple[State, str | None, int]]


class Walk:
    """Every scenario of a variant.

    Args:
        variant: how the program behaves.
        transitions: the table that every move must be in.
    """

    def __init__(self, variant: Variant, transitions: Mapping[str | None, Mapping[str, str]] = TRANSITIONS) -> None:
        self.variant = variant
        self.transitions = transitions
        self.steps: set[Step] = set()
        writes = (self._intend, self._call, self._read_back, self._settle)
        self._steps: list[Callable[[State, str | None], Ways]] = [
            self._begin, self._look_up, self._looked_up, *(partial(step, S) for step in writes),
            partial(self._resolve, R), *(partial(step, R) for step in writes),
            partial(self._resolve, C), partial(self._resolve, G),
            *(partial(step, line) for line in (C, G) for step in writes),
        ]  # fmt: skip
        self._runs: dict[State, Counter[tuple[State, int, int]]] = {}
        self._ends: dict[tuple[State, int, int], Verdict] = {}

    @property
    def states(self) -> int:
        """How many different situations were met."""
        return len(self._runs)

    def verdict(self, faults: int, kills: int, state: State | None = None) -> Verdict:
        """All ways on from a state with so many faults and kills left to happen."""
        state = state or State()
        key = (state, faults, kills)
        if key not in self._ends:
            ways = [self._from(event, faults, kills) for event in self._events(state)]
            self._ends[key] = Verdict(*map(sum, zip(*ways, strict=True)))
        return self._ends[key]

    def _from(self, state: State, faults: int, kills: int) -> Verdict:
        total = [0, 0, 0, 0]
        for (after, used, killed), ways in self._outcomes(state).items():
            if used > faults or killed > kills:
                continue
            if not used and not killed and self._tick(after) == state:
                end = self._judged(after)
            else:
                end = self.verdict(faults - used, kills - killed, self._tick(after))
            for place, number in enumerate(end):
                total[place] += ways * number
        return Verdict(*total)

    def _events(self, state: State) -> Iterator[State]:
        """What may happen before the next run: nothing, a refund, an older ledger (once the settle time has passed)."""
        yield state
        if not state.refunded:
            yield state._replace(refunded=True)
        quiet = not (state.posts or state.deletes or state.puts or any(state.sales))
        if self.variant.restore and quiet and not state.restored and not state.stopped:
            yield state._replace(lines=(None,) * 4, ages=(0,) * 4, restored=True)
            if state.lines[S]:
                yield state._replace(lines=("priced", "priced", None, None), ages=(0,) * 4, restored=True)
        if self.variant.people:
            yield from people.between_runs(self, state, quiet=quiet)

    def _judged(self, state: State) -> Verdict:
        wanted = 0 if state.refunded else 1
        asked = state.stopped or "held" in state.lines
        double = len(state.sales) > max(wanted, asked) or state.used > max(wanted, asked) or state.used < 0
        short = len(state.sales) < wanted or state.used < wanted
        return Verdict(1, int(double), int(short and not asked and not double), int(asked))

    def _tick(self, state: State) -> State:
        """One run later: what was late happens, what was hidden shows."""
        exist = tuple(self.variant.lag for left in state.posts if left == 1)
        sales = tuple(sorted((*(max(0, left - 1) for left in state.sales), *exist)))[:3]
        if 1 in state.deletes:
            sales = sales[1:]
        used, marker, topped = state.used, state.marker, state.topped
        for left, value, by in state.puts:
            if left == 1:
                used, marker, topped = value, by, 2 if topped else 0
        return state._replace(
            ages=tuple(
                min(age + 1, self.variant.settle) if line == "unknown" else 0
                for age, line in zip(state.ages, state.lines, strict=True)
            ),
            sales=sales, posts=tuple(left - 1 for left in state.posts if left > 1),
            deletes=tuple(left - 1 for left in state.deletes if left > 1), used=used, marker=marker, topped=topped,
            puts=tuple((left - 1, value, by) for left, value, by in state.puts if left > 1),
        )  # fmt: skip

    # One run: each step is a commit or a call, and a kill can come before each of them, and so after each. A step
    # yields the ways on: the state, the answer that the next step needs (or END), and how many faults that took.

    def _outcomes(self, state: State) -> Counter[tuple[State, int, int]]:
        if state not in self._runs:
            found: Counter[tuple[State, int, int]] = Counter()
            self._go(state, 0, None, (0, 0), found)
            self._runs[state] = found
        return self._runs[state]

    def _go(
        self, state: State, at: int, answer: str | None, spent: tuple[int, int], found: Counter[tuple[State, int, int]]
    ) -> None:
        for place in range(at, len(self._steps)):
            ways = list(self._steps[place](state, answer))
            if ways == [(state, answer, 0)]:
                continue
            found[state, spent[0], spent[1] + 1] += 1
            for after, said, faults in ways:
                if said == END:
                    found[after, spent[0] + faults, spent[1]] += 1
                else:
                    self._go(after, place + 1, said, (spent[0] + faults, spent[1]), found)
            return
        found[state, spent[0], spent[1]] += 1

    def move(self, state: State, line: int, to: str, cause: str) -> State:
        """A line goes on to another state.

        Raises:
            AssertionError: the table of transitions forbids it.
        """
        now = state.lines[line]
        if to not in self.transitions[now]:
            raise AssertionError(f"a run moves a line from {now} to {to}, which the table of transitions forbids")
        self.steps.add(Step(KINDS[line], state.came[line], now, cause, to))
        lines = tuple(to if place == line else each for place, each in enumerate(state.lines))
        ages = tuple(0 if place == line else each for place, each in enumerate(state.ages))
        if not self.variant.people:
            return state._replace(lines=lines, ages=ages)
        came = tuple(cause if place == line else each for place, each in enumerate(state.came))
        lost = min(state.lost + (line == S and to == "unknown"), self.variant.attempts)
        return state._replace(lines=lines, ages=ages, came=came, lost=lost)

    def _begin(self, state: State, _answer: str | None) -> Ways:
        """Commit: what an ended run left is unknown; what the job needs now is entered."""
        if state.stopped:
            yield state, END, 0
            return
        if self.variant.proves and self._foreign(state):
            yield state._replace(stopped=True), END, 0
            return
        after = people.noticed(self, state) if self.variant.people else state
        for line, now in enumerate(state.lines):
            if now == "sending":
                after = self.move(after, line, "unknown", "orphaned")
        wanted = [line + 2 for line in (S, C) if state.lines[line]] if state.refunded else [S, C]
        new = [line for line in wanted if after.lines[line] is None]
        if self.variant.people and S in new and not state.ruled:
            yield self.move(after, S, "held", "asked")._replace(ruled=1), None, 0
            after = after._replace(ruled=2)
        for line in new:
            after = self.move(after, line, "priced", "entered")
        yield after, None, 0

    def _foreign(self, state: State) -> bool:
        """Whether the servers show a use of the credit, or a sale of another decision, that this ledger never sent."""
        unsent = (None, "priced", "void") if state.restored else (None,)
        used = state.marker is not None and state.lines[state.marker] in unsent
        return used or (state.refunded and state.lines[S] is None and 0 in state.sales)

    def _look_up(self, state: State, _answer: str | None) -> Ways:
        """Call: the list of sales. It may fail, which ends the run."""
        due = state.lines[S] == "unknown" and state.ages[S] >= self.variant.settle
        if not due and state.lines[S] != "priced":
            yield state, None, 0
            return
        shown = state.sales.count(0) if self.variant.deterministic else 0
        yield state, ("absent", "found", "several", "several")[shown], 0
        yield state, END, 1

    def _looked_up(self, state: State, answer: str | None) -> Ways:
        """Commit: what the list says; then reversals of what was never sent cancel it."""
        after, line = state, state.lines[S]
        if answer and (line == "unknown" or self.variant.adopts):
            blind = line == "unknown" and not self.variant.looks_up
            answer = "absent" if blind else answer
            worn = self.variant.people and state.lost >= self.variant.attempts
            cause = {"several": "contradicted", "absent": "worn out" if worn else "absent"}.get(answer, answer)
            to = {"found": "confirmed", "absent": "priced"}.get(cause, "held")
            after = after if (line, answer) == ("priced", "absent") else self.move(after, S, to, cause)
        for original, reversal in ((S, R), (C, G)):
            unsent = after.lines[original] == "priced" or (original == S and after.ruled == 1)
            if unsent and after.lines[reversal] == "priced":
                after = self.move(after, original, "void", "cancelled")
                after = self.move(after, reversal, "confirmed", "cancelled")._replace(ruled=2 * (after.ruled > 0))
        yield after, None, 0

    def _resolve(self, line: int, state: State, _answer: str | None) -> Ways:
        """Call and commit: a deletion or a credit whose answer was lost is read."""
        if state.lines[line] != "unknown" or state.ages[line] < self.variant.settle:
            yield state, None, 0
            return
        if line == R:
            there = ("held", "invoiced") if state.billed else ("priced", "there")
            to, cause = there if state.sales else ("confirmed", "gone")
        elif state.marker == line and self.variant.looks_up:
            to, cause = ("held", "crossed") if state.topped == 2 else ("confirmed", "proved")
        elif state.used == state.before or not self.variant.looks_up:
            to, cause = "priced", "unchanged"
        else:
            to, cause = "held", "crossed"
        yield self.move(state, line, to, cause), None, 0
        yield state, END, 1

    def _intend(self, line: int, state: State, _answer: str | None) -> Ways:
        """Commit: about to be sent."""
        done = line not in (R, G) or state.lines[line - 2] in ("confirmed", "invoiced")
        if state.lines[line] != "priced" or not done or (line == C and state.lines[G] == "unknown"):
            yield state, None, 0
            return
        if line == R and (state.billed or not state.sales):
            to, cause = ("held", "invoiced") if state.sales else ("confirmed", "gone")
            yield self.move(state, R, to, cause), None, 0
            return
        after = self.move(state, line, "sending", "sent") if self.variant.intent else state
        yield after._replace(before=state.used, topped=0) if line in (C, G) else after, "send", 0

    def _call(self, line: int, state: State, answer: str | None) -> Ways:
        """Call: the write, as asked or with a fault."""
        if answer != "send":
            yield state, None, 0
            return
        yield self._effect(state, line, "now"), "ok", 0
        for effect, said in (*FAULTS.values(), *(people.FAULTS if self.variant.people else ())):
            yield self._effect(state, line, effect), said, 1

    def _read_back(self, line: int, state: State, answer: str | None) -> Ways:
        """Call: a credit is read again after it was written; that read may be throttled."""
        yield state, answer, 0
        if line in (C, G) and answer == "ok":
            yield state, self.variant.failed_read_back, 1

    def _settle(self, line: int, state: State, answer: str | None) -> Ways:
        """Commit: what the answer means; one that says "not now" ends the run."""
        if answer is None:
            yield state, None, 0
            return
        halts = answer in ("throttled", "not done", "not tried")
        to = self.variant.answers.get(answer, "unknown")
        if not self.variant.intent and to == "confirmed":
            state = self.move(self.move(state, line, "sending", "sent"), line, to, answer)
        elif self.variant.intent:
            state = self.move(state, line, to, answer)
        yield state, END if halts else None, 0

    def _effect(self, state: State, line: int, when: str) -> State:
        """The servers after a write."""
        late = self.variant.late
        if when == "none":
            return state
        if line == S:
            now = state._replace(sales=tuple(sorted((*state.sales, self.variant.lag)))[:3])
            return now if when == "now" else state._replace(posts=(*state.posts, late))
        if line == R:
            return state._replace(sales=state.sales[1:]) if when == "now" else state._replace(deletes=(late,))
        value = state.before + (1 if line == C else -1)
        if when == "now":
            return state._replace(used=value, marker=line)
        return state._replace(puts=(*state.puts, (late, value, line)))


VARIANTS = {
    "no intent": Variant(intent=False),
    "blind retry": Variant(looks_up=False),
    "looked up at once": Variant(settle=0),
    "settle time covers the list lag only": Variant(settle=1),
    "settle time one run too short": Variant(settle=2),
    "random reference": Variant(deterministic=False),
    "500 taken as failure": Variant(answers={**ANSWERS, "failed": "priced"}),
    "HTTP 200 trusted": Variant(answers={**ANSWERS, "unreadable": "confirmed", "refused": "confirmed"}),
    "failed read-back taken as not done": Variant(failed_read_back="throttled"),
    "older ledger without adoption": Variant(restore=True, adopts=False),
    "older ledger without proof of credits": Variant(restore=True, proves=False),
}
"""Programs that are wrong, each in one way; the walk must find the harm of each."""
