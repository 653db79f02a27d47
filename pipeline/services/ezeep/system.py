"""ezeep as a print system: which calls invite, change, rename, take out and delete one of its users.

What belongs here: the calls behind one change, and reading all users. What does not: the wire (`client.py`), what a
record says (`records.py`), and whether a change may be made (`pipeline.effects.users`).

ezeep holds no balance, restriction, PIN or card. What it has instead is a group: its members may use the printers of
the site. `restricted` means out of that group, and our mark is to be, or to have been, a member of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime, timedelta
from typing import NamedTuple

import polars as pl

from pipeline.clock import Clock
from pipeline.domain.names import username
from pipeline.domain.rules import Holding, Price
from pipeline.errors import ConfigError, MissingError, RejectedError, UnsafeError
from pipeline.services.ezeep import findings
from pipeline.services.ezeep.client import EzeepClient, Record
from pipeline.services.ezeep.records import group_ids, id_of, name_fields, read_invitations, read_users, user_name
from pipeline.services.printing import Applied, Change, Invitation, JobSource, Question, Secrets, Setup
from pipeline.services.reading import OddValueError, Read
from pipeline.words import counted

ACCESS = {"mark", "restricted", "disabled"}
"""The fields of a change that are, here, one thing: in the group or out of it."""


class Organisation(NamedTuple):
    """What bridge.toml says of an ezeep organisation, for one site.

    Attributes:
        id: of the organisation.
        group: the name of the group of the site.
        invitation_days: how long an invitation can be accepted.
        disables: whether leavers are only taken out of the group.
        prices: of the pages.
    """

    id: str
    group: str
    invitation_days: int
    disables: bool
    prices: tuple[Price, ...]


class Ezeep:
    """One ezeep organisation as the print system of one site; see `printing.PrintSystem`.

    Args:
        site: the site.
        client: its REST API.
        jobs: its jobs.
        organisation: what bridge.toml says of it.
        clock: the time.
    """

    title = "ezeep"
    holds: frozenset[Holding] = frozenset({"restricted"})

    def __init__(
        self, site: str, client: EzeepClient, jobs: JobSource, organisation: Organisation, clock: Clock
    ) -> None:
        self.client, self.jobs = client, jobs
        self._site, self._organisation, self._clock = site, organisation, clock
        self._listing = threading.Lock()
        self._users: dict[str, Record] = {}
        self._group = ""
        self._apply: dict[str, Callable[[Change], Applied]] = {
            "create": self._create, "update": self._update, "rename": self._rename, "remove": self._remove,
        }  # fmt: skip

    @property
    def host(self) -> str:
        """The host of the account side."""
        return self.client.host

    def users(self, known: pl.DataFrame, ask: Callable[[Collection[str]], Collection[str]], at: datetime) -> Read:
        """All users, with the groups they are in; an invitation without a user counts as one."""
        del ask  # a list tells all of every user
        group = self._group_id(make=False)
        ours = known.filter("marked").height
        if ours and not group:
            raise UnsafeError(
                f"ezeep at {self.host} lists no group {self._organisation.group!r}; {counted(ours, 'user')} of site"
                f" {self._site} had been in it",
                "an empty list is never believed: if somebody deleted the group, make it again in ezeep and give it its"
                " printers; nothing was changed",
            )
        members, users, invitations = self.client.members(), self.client.users(), self.client.invitations()
        with self._listing:
            self._users = _by_name(users)
        return read_users(
            users, members, invitations, site=self._site, group_id=group, known=known,
            disables=self._organisation.disables, at=at,
        )  # fmt: skip

    def invitations(self) -> list[Invitation]:
        """Every invitation, by e-mail and the time at which it ends."""
        return read_invitations(self.client.invitations())[0]

    def resend(self, invitation: Invitation) -> Applied:
        """Let ezeep send the e-mail of an invitation again; raises as `apply`."""
        self.client.send_again(invitation.id)
        return Applied("done", "ezeep sends its e-mail again")

    def as_kept(self, accounts: pl.DataFrame) -> pl.DataFrame:
        """E-mails as user names, and names with one space between two words."""
        return accounts.with_columns(
            email=username("email"), full_name=pl.col("full_name").str.replace_all(r"\s+", " ").str.strip_chars()
        )

    def password_length(self) -> None:
        """Ezeep has no passwords of ours: each person makes one at the first login (`rules.md` Z4)."""

    def ready(self) -> None:
        """Nothing secret is ever written to ezeep."""

    def apply(self, change: Change, secrets: Secrets) -> Applied:
        """Carry out one change; see `printing.PrintSystem.apply`."""
        del secrets
        return self._apply[change.action](change)

    def mark(self, username: str, coworker_id: int) -> Applied:
        """Put a user into the group of the site, and change nothing else."""
        del coworker_id  # membership names nobody; whose user it is stands in our own record
        user = self._user(username)
        if user is None or user.get("azure_profile") is not None:
            return Applied("held", "it is not there any more, or comes from a directory now")
        self._set_member(str(user["id"]), inside=True)
        return Applied("done", f"it is in the group {self._organisation.group}")

    def questions(self, setup: Setup) -> list[Question]:
        """What ezeep tells of its own set-up; see `findings.py`."""
        organisation = self._organisation
        return findings.questions(
            self.client, setup, organization_id=organisation.id, group=organisation.group, prices=organisation.prices
        )

    def close(self) -> None:
        """Give back the connections."""
        self.client.close()
        self.jobs.close()

    def _create(self, change: Change) -> Applied:
        """Invite, then name the user and put them into the group, which only the user that this makes has an id for."""
        expires = self._clock() + timedelta(days=self._organisation.invitation_days)
        self.client.invite(change.username, expires.strftime("%Y-%m-%dT%H:%M:%S"))
        user = self._user(change.username, anew=True)
        if user is None:
            return Applied("partly", "invited; ezeep shows no user for it yet, so it is in no group")
        try:
            self._set_member(str(user["id"]), inside=True)
            self._set_name(str(user["id"]), change)
        except RejectedError as error:
            return Applied("partly", f"invited; {error}")
        return Applied("done", "invited; ezeep sends its own e-mail")

    def _update(self, change: Change) -> Applied:
        user = self._user(change.username)
        if user is None:
            return Applied("held", "invited, but ezeep shows no user for it yet: it is changed once the person logs in")
        self._set_fields(str(user["id"]), change)
        return Applied("done", "changed " + ",".join(change.fields))

    def _set_fields(self, id_: str, change: Change) -> None:
        """The group and the name; whose the user is stands in our own record, and the e-mail is the user name."""
        if ACCESS & set(change.fields):
            self._set_member(id_, inside=not change.restricted)
        if "full_name" in change.fields:
            self._set_name(id_, change)

    def _set_name(self, id_: str, change: Change) -> None:
        self.client.change_user(id_, name_fields(change.full_name))

    def _rename(self, change: Change) -> Applied:
        """The user keeps its login and its jobs under the new e-mail."""
        user, new = self._user(change.username), change.new_username or change.username
        if user is None:
            return Applied("held", "invited, but ezeep shows no user for it yet: it is renamed once the person logs in")
        self.client.change_user(str(user["id"]), {"email": new})
        try:
            self._set_fields(str(user["id"]), change)
        except RejectedError as error:
            return Applied("partly", str(error))
        return Applied("done", f"renamed to {new}")

    def _remove(self, change: Change) -> Applied:
        """Observed once more before it goes: only the user of this e-mail, and none from a directory."""
        listed = self._user(change.username)
        if listed is None:
            return Applied("held", "invited, but ezeep shows no user for it yet: it is removed once it does")
        id_ = str(listed["id"])
        try:
            user = self.client.user(id_)
        except MissingError:
            return Applied("done", "the user was gone already")
        if change.username not in _by_name([user]) or user.get("azure_profile") is not None:
            return Applied("held", "the user is not the one that was observed, so it is not removed")
        if not change.delete:
            self._set_member(id_, inside=False)
            return Applied("done", f"taken out of the group: {change.reason}")
        self.client.delete_user(id_)
        return Applied("done", f"deleted: {change.reason}")

    def _set_member(self, id_: str, *, inside: bool) -> None:
        """Put a user into our group, or take it out; every other group of the user stays (`ezeep-api.md` 3.4)."""
        group = self._group_id(make=True)
        try:
            now = group_ids(self.client.member(id_))
        except OddValueError as error:
            raise RejectedError(f"The groups of a user of ezeep at {self.host} cannot be read: {error}", "") from error
        if (group in now) != inside:
            others = [each for each in now if each != group]
            self.client.set_groups(id_, [*others, group] if inside else others)

    def _group_id(self, *, make: bool) -> str:
        """The id of our group; where it is missing it is made if asked for, and else empty.

        Raises:
            ConfigError: there are two groups of this name.
        """
        name = self._organisation.group
        with self._listing:
            if self._group and make:
                return self._group
            found = [str(each.get("id")) for each in self.client.groups() if each.get("name") == name]
            if len(found) > 1:
                raise ConfigError(
                    f"ezeep at {self.host} has {len(found)} groups of the name {name!r} (site {self._site})",
                    "give the group of the site a name of its own in ezeep and in bridge.toml; nothing was changed",
                )
            if not found and make:
                found = [self.client.make_group(name, self._organisation.id)]
            self._group = found[0] if found else ""
            return self._group

    def _user(self, name: str, *, anew: bool = False) -> Record | None:
        """The user of an e-mail from the list, which is read anew when it does not have it; None where ezeep has none.

        One reading serves all who wait for one.
        """
        with self._listing:
            if name not in self._users and (anew or not self._users):
                self._users = _by_name(self.client.users())
            return self._users.get(name)


def _by_name(users: list[Record]) -> dict[str, Record]:
    """The users that have an id and a name, by their name."""
    found: dict[str, Record] = {}
    for each in users:
        with suppress(OddValueError, KeyError):
            found.setdefault(user_name(each), {**each, "id": id_of(each)})
    return found
