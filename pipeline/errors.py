"""Every way in which printbridge can fail, and what each one means for the next step.

    PrintbridgeError
    ├── TransientError        nothing was changed; the same call may work later (throttled, unreachable, short read)
    ├── PermanentError        nothing was changed; the same call fails again until a person acts
    │   ├── ConfigError       bridge.toml, the environment or a set-up choice in PaperCut or Nexudus is wrong
    │   ├── RejectedError     the service understood the request and refused it
    │   └── MissingError      the record is not there (HTTP 404, unknown user)
    ├── UnsafeError           a safety gate closed before anything was done; a person decides
    └── UnknownOutcomeError   a write may or may not have happened; observe again, never repeat it blindly

What belongs here: the classes and how their sentence is built. What does not: deciding which one applies; that is one
pure predicate in each client.
"""

from __future__ import annotations


class PrintbridgeError(Exception):
    """A failure with a remedy.

    Args:
        tried: what was tried and what came back, with the numbers, as one or more sentences without a final full stop.
        remedy: the next step for the person who reads this.
    """

    def __init__(self, tried: str, remedy: str) -> None:
        self.tried = tried
        self.remedy = remedy
        super().__init__(f"{tried}. What to do: {remedy}" if remedy else f"{tried}.")


class TransientError(PrintbridgeError):
    """Nothing was changed and a later try may work. `wait_seconds` is the server's own hint, if it gave one."""

    def __init__(self, tried: str, remedy: str, *, wait_seconds: float | None = None) -> None:
        super().__init__(tried, remedy)
        self.wait_seconds = wait_seconds


class PermanentError(PrintbridgeError):
    """Nothing was changed and trying again does not help."""


class ConfigError(PermanentError):
    """The configuration, or a set-up choice in one of the services, is wrong."""


class RejectedError(PermanentError):
    """The service understood the request and refused it: definitely not done."""


class MissingError(PermanentError):
    """The record asked for does not exist."""


class UnsafeError(PrintbridgeError):
    """A safety gate closed: nothing was done, and nothing of this kind will be until a person decides."""


class UnknownOutcomeError(PrintbridgeError):
    """A write was sent and its outcome is not known: it may have happened, may happen later, or not at all."""


KINDS = frozenset({
    each.__name__
    for each in (
        PrintbridgeError, TransientError, PermanentError, ConfigError, RejectedError, MissingError, UnsafeError,
        UnknownOutcomeError,
    )
})  # fmt: skip
"""The names of our errors: their texts have a remedy, those of what they were made from have none."""
