"""What the services of the sandbox share: the clock, the switches, the call counts, the faults and the late effects.

What belongs here: state that the control endpoint sets and every service obeys. What does not: HTTP, XML-RPC, SQL.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

ACTIONS = frozenset({
    "drop_before",           # no effect, connection closed
    "drop_after",            # effect, then closed
    "late_commit",           # connection closed at once, effect `seconds` later by the sandbox's clock
    "status",                # answer `code`, with the effect or without (`effect`)
    "delay",                 # effect, answer after `seconds` of real time
    "truncate",              # effect, half of the body
    "html_200",              # effect, an HTML page with status 200
    "short_list",            # effect, the second half of the list is missing; a total in the answer stays
    "empty_list",            # effect, an empty list, and a total of 0
    "was_successful_false",  # no effect, HTTP 200 with WasSuccessful false; PaperCut: `style` false | fault
    "rejected",              # no effect, HTTP 400 that names what is wrong with the record; PaperCut: a fault
    "throttle",              # no effect, 429_text | 429_retry_after | 409_legacy (`style`, `seconds`)
    # hostile answers (`hostile.py`), all with the effect; they end when the client goes away, or at their limit
    "bomb",                  # the answer and `megabytes` (100) of blanks, compressed `layers` (1) times with gzip
    "endless",               # the answer, then blanks without end: up to `megabytes` (2,048) or `seconds` (120)
    "drip",                  # a byte every `seconds` (1) of head or body (`style`: headers | body), up to 600 seconds
})  # fmt: skip
STYLES = {
    "throttle": ("429_text", "429_retry_after", "409_legacy"), "drip": ("body", "headers"),
    "was_successful_false": ("false", "fault"),
}  # fmt: skip
"""What `style` can be, the default first."""

LATEST = datetime(9000, 1, 1, tzinfo=UTC)
"""The clock does not go further: dates end with the year 9999."""

_FAULT_NUMBERS: dict[str, tuple[tuple[type, ...], float, float]] = {
    "times": ((int,), 0, 10**9),
    "after": ((int,), 0, 10**9),
    "code": ((int,), 200, 599),
    "seconds": ((int, float), 0, 10**9),
    "megabytes": ((int, float), 0, 4096),
    "layers": ((int,), 1, 5),
}

Effect = Callable[[], Awaitable[object]]
"""What a call does to the state of a service; its answer is of no interest."""


@dataclass
class Clock:
    """The sandbox's time: real time plus an offset that only grows when told to."""

    offset: timedelta = timedelta()

    @classmethod
    def starting_at(cls, moment: str | None) -> Clock:
        """A clock that shows `moment` (ISO-8601 with zone) now; the system's time when it is empty."""
        if not moment:
            return cls()
        return cls(datetime.fromisoformat(moment).astimezone(UTC) - datetime.now(UTC))

    def now(self) -> datetime:
        """The sandbox's current time, UTC."""
        return datetime.now(UTC) + self.offset

    def advance(self, seconds: float) -> None:
        """Move the clock forward.

        Raises:
            ValueError: `seconds` is negative (time does not run backwards), no number, or leads beyond `LATEST`.
        """
        if not 0 <= seconds <= (LATEST - self.now()).total_seconds():
            message = f"the clock only moves forward, and not beyond the year {LATEST.year}: not by {seconds} seconds"
            raise ValueError(message)
        self.offset += timedelta(seconds=seconds)


@dataclass
class Fault:
    """One planned misbehaviour of a service.

    `match` is a call as it is counted (`POST coworkerproducts`, `api.addNewInternalUser`, `database`) or a pattern such
    as `*` or `POST co*`. The first `after` matching calls pass, the next `times` are faulted.
    """

    target: str
    match: str
    action: str
    times: int = 1
    after: int = 0
    code: int = 500
    effect: bool = False
    seconds: float = 0.0
    style: str = ""
    megabytes: float = 0.0
    layers: int = 1

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            message = f"unknown fault action {self.action!r}; known: {', '.join(sorted(ACTIONS))}"
            raise ValueError(message)
        styles = STYLES.get(self.action, ("",))
        self.style = self.style or styles[0]
        if self.action in STYLES and self.style not in styles:
            message = f"the style of {self.action!r} can be {', '.join(styles)}, not {self.style!r}"
            raise ValueError(message)
        if not all(isinstance(text, str) for text in (self.target, self.match)):
            message = "target and match of a fault are texts"
            raise ValueError(message)
        for name, (kinds, least, most) in _FAULT_NUMBERS.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
                message = f"{name} of a fault is a number from {least} to {most}, not {value!r}"
                raise ValueError(message)


@dataclass
class Faults:
    """The planned faults, each used up as matching calls arrive."""

    planned: list[Fault] = field(default_factory=list[Fault])
    fired: int = 0
    """How many calls were faulted so far."""

    def take(self, target: str, call: str) -> Fault | None:
        """The fault for this call, if one is planned, with one use of it spent.

        Args:
            target: `nexudus` or the name of a site.
            call: `POST coworkerproducts`, `api.addNewInternalUser`, or `database`.
        """
        for fault in self.planned:
            if fault.target != target or fault.times <= 0 or not fnmatchcase(call, fault.match):
                continue
            if fault.after > 0:
                fault.after -= 1
                continue
            fault.times -= 1
            self.fired += 1
            return fault
        return None


@dataclass
class Core:
    """The shared state of one sandbox."""

    clock: Clock
    switches: dict[str, Any]
    faults: Faults = field(default_factory=Faults)
    calls: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    late: list[tuple[datetime, Effect]] = field(default_factory=list[tuple[datetime, Effect]])

    def switch(self, name: str, default: Any) -> Any:
        """The value of a switch, or the first value of its row in the fact sheets."""
        return self.switches.get(name, default)

    def count(self, target: str, call: str) -> None:
        """Note that a call arrived."""
        self.calls[target][call] += 1

    def postpone(self, seconds: float, effect: Effect) -> None:
        """Let `effect` happen when the sandbox's clock is `seconds` further on."""
        self.late.append((self.clock.now() + timedelta(seconds=seconds), effect))

    async def settle(self) -> None:
        """Let every postponed effect happen whose moment has come, in the order of their moments."""
        now = self.clock.now()
        due = sorted((entry for entry in self.late if entry[0] <= now), key=lambda entry: entry[0])
        self.late = [entry for entry in self.late if entry[0] > now]
        for _moment, effect in due:
            await effect()
