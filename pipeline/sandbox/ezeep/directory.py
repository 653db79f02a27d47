"""The people of an ezeep organisation: users, their invitations, and groups, with the rules of each.

What belongs here: who is known, in which form the services show it, and what inviting and accepting mean
(`ezeep-api.md` 3). What does not: paths, tokens, jobs.
"""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from pipeline.sandbox.core import Core
from pipeline.sandbox.ezeep.answers import AbsentError, InvalidError
from pipeline.sandbox.ezeep.calls import stamp
from pipeline.sandbox.ezeep.switches import choice

Json = dict[str, Any]

INVITATION_DAYS = 30
"""How long the invitations of a world file last."""

FOREIGN = "This address belongs to another ezeep account. Please contact the support of ezeep."
"""The words are ours: that such an address cannot be invited is known, the answer is not."""

DOUBLE = "A user with this email already exists."


@dataclass
class Invitation:
    """A mail that asks a person to log in for the first time."""

    id: str
    email: str
    updated: datetime
    expires: datetime
    accepted: bool = False

    def status(self, now: datetime) -> str:
        """What has become of it."""
        if self.accepted:
            return "ACCEPTED"
        return "EXPIRED" if now >= self.expires else "OPEN"

    def shown(self, now: datetime) -> Json:
        """Its form in answers."""
        return {
            "id": self.id,
            "updated": stamp(self.updated),
            "email": self.email,
            "expire_date": stamp(self.expires, "seconds"),
            "delivery_status": "SENT",
            "invitation_status": self.status(now),
        }


@dataclass
class Group:
    """Users that may use the same printers."""

    id: str
    name: str
    description: str = ""
    local_printing_enabled: bool = False
    myprinters_enabled: bool = False


@dataclass
class User:
    """A person, known from the first invitation on."""

    id: str
    email: str
    joined: datetime
    first_name: str = ""
    last_name: str = ""
    roles: list[str] = field(default_factory=lambda: ["user"])
    is_verified: bool = False
    profile: Json | None = None
    invitations: list[Invitation] = field(default_factory=list[Invitation])
    groups: list[str] = field(default_factory=list[str])
    """By id."""

    @property
    def name(self) -> str:
        """First and last name."""
        return f"{self.first_name} {self.last_name}".strip()

    def shown(self, now: datetime) -> Json:
        """The form of the account service."""
        return {
            "id": self.id,
            "email": self.email,
            "first_name": self.first_name,
            "last_name": self.last_name,
            "display_name": self.name,
            "date_joined": stamp(self.joined),
            "azure_profile": None,
            "id_profile": self.profile,
            "user_invitations": [each.shown(now) for each in self.invitations] or None,
            "roles": self.roles,
            "is_verified": self.is_verified,
        }

    def printing(self) -> Json:
        """The form of the printing service."""
        return {
            "id": self.id,
            "local_printing_enabled": False,
            "self_service_enabled": False,
            "myprinters_enabled": False,
            "groups": [{"group_id": group} for group in self.groups],
        }


class Kept(NamedTuple):
    """Who was there at a moment."""

    users: dict[str, User]
    addresses: dict[str, str]
    groups: dict[str, Group]
    mails: Counter[str]


class Directory:
    """Users and groups of one organisation.

    Args:
        core: the clock and the switches.
        organization: its id.
    """

    def __init__(self, core: Core, organization: str) -> None:
        self.core = core
        self.organization = organization
        self.users: dict[str, User] = {}
        self.groups: dict[str, Group] = {}
        self.mails: Counter[str] = Counter()
        """Invitations sent, by address."""
        self._made: Counter[str] = Counter()
        self._addresses: dict[str, str] = {}

    def new_id(self, kind: str) -> str:
        """An id that was never given before: the same in each sandbox of the same world."""
        self._made[kind] += 1
        return str(uuid.uuid5(uuid.UUID(self.organization), f"{kind} {self._made[kind]}"))

    def user(self, number: str) -> User:
        """The user with an id.

        Raises:
            AbsentError: there is none.
        """
        if number not in self.users:
            raise AbsentError
        return self.users[number]

    def group(self, number: str) -> Group:
        """The group with an id.

        Raises:
            AbsentError: there is none.
        """
        if number not in self.groups:
            raise AbsentError
        return self.groups[number]

    def find(self, email: str) -> User | None:
        """The user with an address, however it is written."""
        return self.users.get(self._addresses.get(email.casefold(), ""))

    def rename(self, user: User, email: str) -> None:
        """Give a user another address.

        Raises:
            InvalidError: another user has it.
        """
        if self.find(email) not in (None, user):
            raise InvalidError("email", DOUBLE)
        del self._addresses[user.email.casefold()]
        self._addresses[email.casefold()] = user.id
        user.email = email

    def remove(self, number: str) -> None:
        """Take a user away; invited again, the person gets another id.

        Raises:
            AbsentError: there is no such user.
        """
        user = self.user(number)
        del self._addresses[user.email.casefold()], self.users[number]

    def replace(self, users: list[Json]) -> None:
        """Put users, as in a world file, in place of all users, and forget the mails to these.

        Raises:
            ValueError: one of them cannot be; only those before it are there then.
        """
        self.users, self._addresses, self.mails = {}, {}, Counter()
        for given in users:
            self.load(given)

    def keep(self) -> Kept:
        """Who is there now, for `put_back`."""
        return Kept(dict(self.users), dict(self._addresses), dict(self.groups), Counter(self.mails))

    def put_back(self, kept: Kept) -> None:
        """Let there be only those who were kept."""
        self.users, self._addresses, self.groups, self.mails = kept

    def invite(self, email: str, expires: datetime) -> Invitation:
        """Send an invitation; an address that nobody has becomes an unverified user.

        Raises:
            InvalidError: the address is in use, here or in another account.
        """
        if email.casefold() in {each.casefold() for each in choice(self.core, "foreign_account")}:
            raise InvalidError("email", FOREIGN, invention="refusal of an address of another account")
        user, rule = self.find(email), str(choice(self.core, "ezeep_duplicate_invitation"))
        if user and rule != "again":
            status = 409 if rule == "refuse_409" else 400
            raise InvalidError("email", DOUBLE, status=status, invention="refusal of a second invitation")
        user = user or self.add(email)
        invitation = Invitation(self.new_id("invitation"), user.email, self.core.clock.now(), expires)
        user.invitations.append(invitation)
        self.mails[user.email] += 1
        return invitation

    def resend(self, number: str, expires: datetime | None) -> Invitation:
        """Send an invitation once more; it is open again until `expires`, or for as long as the first time.

        Raises:
            AbsentError: there is no such invitation.
            InvalidError: it was accepted.
        """
        now = self.core.clock.now()
        for invitation in self.invitations():
            if invitation.id != number:
                continue
            if invitation.accepted:
                raise InvalidError("invitation_status", "The invitation was accepted.")
            length = max(invitation.expires - invitation.updated, timedelta(days=1))
            invitation.updated, invitation.expires = now, expires or now + length
            self.mails[invitation.email] += 1
            return invitation
        raise AbsentError

    def invitations(self) -> list[Invitation]:
        """Every invitation of the users that are there."""
        return [invitation for user in self.users.values() for invitation in user.invitations]

    def accept(self, email: str) -> User:
        """Let a person log in for the first time, which makes the user verified.

        Raises:
            ValueError: nobody has the address, or no invitation of it is open.
        """
        user, now = self.find(email), self.core.clock.now()
        if user is None:
            message = f"no user has the address {email!r}"
            raise ValueError(message)
        if user.is_verified:
            return user
        opened = [each for each in user.invitations if each.status(now) == "OPEN"]
        if not opened:
            message = f"no invitation of {email} is open: resend it"
            raise ValueError(message)
        opened[-1].accepted, opened[-1].updated = True, now
        self._verify(user)
        return user

    def _verify(self, user: User) -> None:
        oid = str(uuid.uuid5(uuid.UUID(user.id), "profile"))
        user.is_verified = True
        user.profile = {"oid": oid, "preferred_username": user.email, "name": user.name or user.email}

    def add(self, email: str) -> User:
        """A new, unverified user in no group."""
        user = User(self.new_id("user"), email, self.core.clock.now())
        self.users[user.id] = user
        self._addresses[email.casefold()] = user.id
        return user

    def load(self, given: Json) -> User:
        """A user of a world file: verified unless it says otherwise; one who is not has an open invitation.

        Raises:
            ValueError: it has no address, or one that another user has.
        """
        email = str(given.get("email") or "")
        if not email or self.find(email):
            message = f"a user of an ezeep site needs an address of his own, not {email!r}"
            raise ValueError(message)
        user = self.add(email)
        user.first_name, user.last_name = str(given.get("first_name") or ""), str(given.get("last_name") or "")
        user.roles = [str(role) for role in given.get("roles") or ["user"]]
        names: list[object] = given.get("groups") or []
        user.groups = list(dict.fromkeys(self.named(str(name)).id for name in names))
        if given.get("is_verified", True):
            self._verify(user)
        else:
            expires = user.joined + timedelta(days=INVITATION_DAYS)
            user.invitations.append(Invitation(self.new_id("invitation"), email, user.joined, expires))
            self.mails[email] += 1
        return user

    def named(self, name: str) -> Group:
        """The first group of a name, made if there is none."""
        return next((group for group in self.groups.values() if group.name == name), None) or self.add_group(name)

    def add_group(self, name: str) -> Group:
        """A new group without members."""
        group = Group(self.new_id("group"), name)
        self.groups[group.id] = group
        return group

    def remove_group(self, number: str) -> None:
        """Take a group away, from its members as well.

        Raises:
            AbsentError: there is no such group.
        """
        del self.groups[self.group(number).id]
        for user in self.users.values():
            user.groups = [group for group in user.groups if group != number]

    def members(self, group: Group) -> int:
        """How many users are in a group."""
        return sum(group.id in user.groups for user in self.users.values())

    def state(self) -> Json:
        """Users, groups and mails in the shape of `GET /state`."""
        now = self.core.clock.now()
        users = [
            {
                "id": user.id,
                "email": user.email,
                "first_name": user.first_name,
                "last_name": user.last_name,
                "is_verified": user.is_verified,
                "roles": user.roles,
                "groups": [self.groups[group].name for group in user.groups],
                "invitations": [each.shown(now) for each in user.invitations],
            }
            for user in self.users.values()
        ]
        groups = [{"id": each.id, "name": each.name, "members": self.members(each)} for each in self.groups.values()]
        return {"users": users, "groups": groups, "mails": dict(self.mails)}
