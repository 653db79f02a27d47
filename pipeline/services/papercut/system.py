"""PaperCut as a print system: which calls make, change, rename, adjust, mark and remove one of its users.

What belongs here: the calls behind one change, and reading all users by database or by name. What does not: the wire
(`client.py`), the log (`database.py`, `job_files`), whether a change may be made and what is recorded of it
(`pipeline.effects.users`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from decimal import Decimal
from functools import partial

import polars as pl

from pipeline.domain.names import LENGTH_KEY, MIN_PASSWORD, password
from pipeline.errors import ConfigError, MissingError, RejectedError, TransientError, UnknownOutcomeError
from pipeline.services.digests import Digester
from pipeline.services.papercut import findings
from pipeline.services.papercut.client import PaperCutClient
from pipeline.services.papercut.database import PaperCutDatabase
from pipeline.services.papercut.records import USER_PROPERTIES, flat, mark, marked_notes, papercut_users_of, read_users
from pipeline.services.printing import Applied, Change, Holding, Invitation, JobSource, Question, Secrets, Setup
from pipeline.services.reading import Read


class PaperCut:
    """One PaperCut server; see `printing.PrintSystem`.

    Args:
        site: the site, which stands in our mark.
        client: its web services.
        jobs: its log; where that is its database, users are read there as well.
        digest: makes the digests of card numbers.
        connections: calls at a time.
    """

    title = "PaperCut"
    holds: frozenset[Holding] = frozenset({"balance", "restricted", "pin", "card", "disabled", "cost"})

    def __init__(
        self, site: str, client: PaperCutClient, jobs: JobSource, *, digest: Digester, connections: int
    ) -> None:
        self.client, self.jobs = client, jobs
        self._site, self._digest, self._connections = site, digest, connections
        self._minimum = MIN_PASSWORD
        self._apply: dict[str, Callable[[Change, Secrets], Applied]] = {
            "create": self._create, "update": self._update, "rename": self._rename, "adjust": self._adjust,
            "remove": self._remove,
        }  # fmt: skip

    @property
    def host(self) -> str:
        """The host of the web services."""
        return self.client.host

    @property
    def database(self) -> PaperCutDatabase | None:
        """PaperCut's own database, where the jobs are read from it."""
        return self.jobs if isinstance(self.jobs, PaperCutDatabase) else None

    def users(self, known: pl.DataFrame, ask: Callable[[Collection[str]], Collection[str]], at: datetime) -> Read:
        """All users: one query where the database is configured, else names by page and properties of a few."""
        if self.database:
            return self._as_known(self.database.read_users(), known, at)
        names = self.client.users()
        known = known.filter(pl.col("username").is_in(names))
        asked = sorted((set(names) - set(known["username"])) | (set(ask(names)) & set(names)))
        with ThreadPoolExecutor(self._connections) as pool:
            answers = list(pool.map(partial(self.client.properties, names=USER_PROPERTIES), asked))
        observed = self._as_known(read_users(asked, answers), known, at)
        rest = known.filter(~pl.col("username").is_in(asked))
        rest = rest.select(observed.frame.columns)
        return Read(pl.concat([rest, observed.frame]).sort("username"), observed.problems)

    def _as_known(self, found: Read, known: pl.DataFrame, at: datetime) -> Read:
        """What was observed, and the former rows of users that cannot be read now."""
        users = papercut_users_of(found.frame, self._site, self._digest, at)
        odd = known.filter(pl.col("username").is_in([problem.id for problem in found.problems]))
        odd = odd.join(users, on="username", how="anti").select(users.columns)
        return Read(pl.concat([users, odd]).sort("username"), found.problems)

    def as_kept(self, accounts: pl.DataFrame) -> pl.DataFrame:
        """Names and e-mails without what PaperCut's default XML reader loses."""
        return accounts.with_columns(flat("full_name"), flat("email"))

    def password_length(self) -> int:
        """PaperCut's minimum password length, and never less than 8 (`rules.md` U9)."""
        text = self.client.config_value(LENGTH_KEY)
        return max(int(text), MIN_PASSWORD) if text.isdecimal() else MIN_PASSWORD

    def ready(self) -> int:
        """PaperCut's minimum password length, before the first password is written (`rules.md` S9, U9).

        Raises:
            ConfigError: it is set below 8.
        """
        text = self.client.config_value(LENGTH_KEY)
        if text and (not text.isdecimal() or int(text) < MIN_PASSWORD):
            raise ConfigError(
                f"PaperCut at {self.host} (site {self._site}) has a minimum password length of {text!r}; at least"
                f" {MIN_PASSWORD} is needed",
                f"set {LENGTH_KEY} to {MIN_PASSWORD} or higher under Options > Config Editor and click Update;"
                " no user was changed",
            )
        self._minimum = int(text) if text else MIN_PASSWORD
        return self._minimum

    def apply(self, change: Change, secrets: Secrets) -> Applied:
        """Carry out one change; see `printing.PrintSystem.apply`."""
        return self._apply[change.action](change, secrets)

    def mark(self, username: str, coworker_id: int) -> Applied:
        """Append our mark to the notes of a user, and nothing else; the rest of the notes stays."""
        seen = self.client.properties(username, ["internal", "notes"])
        others = set(re.findall(rf"printbridge:{self._site}:(\d+)\b", seen["notes"])) - {str(coworker_id)}
        if seen["internal"].lower() != "true" or others:
            return Applied("held", "it is no internal user any more, or has the mark of another customer now")
        notes = marked_notes(seen["notes"], self._site, coworker_id)
        if notes != seen["notes"]:
            self.client.set_properties(username, {"notes": notes})
        if self.client.properties(username, ["notes"])["notes"] == notes:
            return Applied("done", "our mark stands in its notes")
        return Applied("unsure", "PaperCut keeps other notes than were sent: look at the user in PaperCut")

    def invitations(self) -> list[Invitation]:
        """Nobody is invited: users are made with their PIN."""
        return []

    def resend(self, invitation: Invitation) -> Applied:
        """There is nothing to send."""
        del invitation
        return Applied("held", "PaperCut invites nobody")

    def questions(self, setup: Setup) -> list[Question]:
        """What PaperCut tells of its own set-up; see `findings.py`."""
        return findings.questions(self.client, setup)

    def close(self) -> None:
        """Give back the connections to the web services and to the log."""
        self.client.close()
        self.jobs.close()

    def _create(self, change: Change, secrets: Secrets) -> Applied:
        name, pin = change.username, secrets.pin or ""
        self.client.create_user(
            name, password=password(pin, self._minimum), full_name=change.full_name, email=change.email,
            card=secrets.card or "", pin=pin,
        )  # fmt: skip
        # Group rules may set balance and restriction, so both are set afterwards.
        values = {"restricted": _flag(change.restricted), "notes": mark(self._site, change.coworker_id)}
        try:
            self.client.set_properties(name, values)
        except RejectedError as error:
            return Applied("partly", str(error))
        if change.target is None:
            return Applied("done", "created")
        try:
            # A group rule may have given a starting credit, so the balance is read, not assumed.
            self._adjust_to(change, name, self.client.balance(name), change.target)
        except (UnknownOutcomeError, TransientError) as error:
            return Applied("unsure", f"created; its balance was not set: {error}")
        return Applied("done", f"created with balance {change.target.normalize():f}")

    def _update(self, change: Change, secrets: Secrets) -> Applied:
        self._set_fields(change, change.username, secrets)
        return Applied("done", "changed " + ",".join(change.fields))

    def _set_fields(self, change: Change, username: str, secrets: Secrets) -> None:
        """Set the fields that change, in one call."""
        given = {
            "full_name": ("full-name", change.full_name), "email": ("email", change.email),
            "restricted": ("restricted", _flag(change.restricted)), "disabled": ("disabled-print", "FALSE"),
        }  # fmt: skip
        values = {name: value for field, (name, value) in given.items() if field in change.fields}
        if {"mark", "customer"} & set(change.fields):
            notes = self.client.properties(username, ["notes"])["notes"]
            values["notes"] = marked_notes(notes, self._site, change.coworker_id)
        if {"pin", "password"} & set(change.fields) and secrets.pin:
            values["password"] = password(secrets.pin, self._minimum)
        if "pin" in change.fields and secrets.pin:
            values["card-pin"] = secrets.pin
        if "card" in change.fields:
            values["primary-card-number"] = secrets.card or ""
        if values:
            self.client.set_properties(username, values)

    def _adjust(self, change: Change, _: Secrets) -> Applied:
        target = change.target if change.target is not None else change.balance
        self._adjust_to(change, change.username, change.balance, target)
        return Applied("done", f"balance {change.balance.normalize():f} -> {target.normalize():f}")

    def _adjust_to(self, change: Change, username: str, balance: Decimal, target: Decimal) -> None:
        """A relative change, so that a print in between is not undone; the comment says whose it is."""
        if balance != target:
            self.client.adjust_balance(username, target - balance, f"{change.comment}: to {target.normalize():f}")

    def _rename(self, change: Change, secrets: Secrets) -> Applied:
        """The user keeps balance, card and history; what else changed is set under the new name."""
        new = change.new_username or change.username
        self.client.rename_user(change.username, new)
        try:
            self._set_fields(change, new, secrets)
            if change.target is not None:
                self._adjust_to(change, new, change.balance, change.target)
        except RejectedError as error:
            return Applied("partly", str(error))
        return Applied("done", f"renamed to {new}")

    def _remove(self, change: Change, _: Secrets) -> Applied:
        """Observed once more before it goes: only a user that still carries our mark and is internal is removed."""
        name = change.username
        try:
            seen = self.client.properties(name, ["internal", "notes"])
        except MissingError:
            return Applied("done", "the user was gone already")
        if seen["internal"].lower() != "true" or mark(self._site, change.coworker_id) not in seen["notes"]:
            return Applied("held", "the user no longer carries our mark, so it is not removed")
        if not change.delete:
            self.client.set_properties(name, {"disabled-print": "TRUE"})
            return Applied("done", f"disabled: {change.reason}")
        self.client.delete_user(name)
        return Applied("done", f"deleted: {change.reason}")


def _flag(value: object) -> str:
    return "TRUE" if value else "FALSE"
