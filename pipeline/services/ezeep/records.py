"""From the records of ezeep to PrintUsers and invitations.

What belongs here: naming, typing and trimming what ezeep answers. What does not: fetching it, or any rule about it.

Every value goes through one reading (`pipeline/services/reading.py`). What stands for what:

    email            trimmed, and lower case in NFKC form: the user name; null or odd: unreadable
    first_name, ...  texts, null: none; the full name is both with one space between them
    azure_profile    an object: the user comes from a directory, and is never ours
    is_verified      a flag; a user that is not verified has never logged in and cannot print (`rules.md` Z5)
    groups           a list of objects with group_id; anything else: unreadable, for it decides who prints
    our mark         membership of the group of the site, now or when the same user (by its id) was observed before:
                     a user who is out of the group for want of credit stays ours
    an odd record    is named, and its user is as it was known: an odd record is no evidence that somebody is gone
    an invitation    that no user stands behind yet counts as a user, so that nobody is invited twice
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, cast

import polars as pl

from pipeline.domain import tables
from pipeline.domain.names import user_name_of
from pipeline.domain.people.balances import CARRIED
from pipeline.services.printing import Invitation
from pipeline.services.reading import OddValueError, Problem, Read, address, kind, problem, text

Record = Mapping[str, Any]

USERS = pl.Schema({name: dtype for name, dtype in tables.columns("print_users").items() if name not in CARRIED})
"""PrintUsers, without what is carried from one observation to the next."""


def read_users(
    users: Iterable[Record], members: Iterable[Record], invitations: Iterable[Record], *, site: str,
    group_id: str, known: pl.DataFrame, disables: bool, at: datetime,
) -> Read:  # fmt: skip
    """The users of an organisation as PrintUsers, and those that cannot be read.

    Args:
        users: of the account side.
        members: of the printing side, with their groups.
        invitations: every invitation.
        site: the site.
        group_id: the group of the site; empty where it does not exist.
        known: PrintUsers as last observed.
        disables: whether leavers of the site are only taken out of the group.
        at: start of the read, UTC.
    """
    groups = {str(each.get("id")): each for each in members}
    marked = dict(known.filter("marked").select("username", "remote_id").iter_rows())
    rows: dict[str, tuple[Any, ...]] = {}
    problems: list[Problem] = []

    def row(name: str, full_name: str, id_: str | None, *, inside: bool, internal: bool) -> tuple[Any, ...]:
        ours = inside or (id_ is not None and marked.get(name) == id_)
        out = not inside
        return (site, name, full_name, name, 0, out, disables and out, internal, ours, None, None, id_, at)

    for each in users:
        try:
            name, id_ = user_name(each), id_of(each)
            inside = group_id in group_ids(groups.get(id_, {"groups": []}))
            internal = each.get("azure_profile") is None
            made = row(name, full_name(each), id_, inside=inside, internal=internal)
        except (OddValueError, KeyError) as error:
            problems.append(problem(each.get("id"), error))
            continue
        if name in rows:
            problems.append(problem(id_, OddValueError("email", "is that of another user, but for case")))
        else:
            rows[name] = made
    odd = known.filter(pl.col("remote_id").is_in([each.id for each in problems])).select(USERS.names())
    rows |= {each[1]: each for each in odd.iter_rows() if each[1] not in rows}
    listed, unreadable = read_invitations(invitations)
    for each in listed if rows else ():  # without a user, an invitation would make an empty list look like one
        if each.state != "accepted" and each.email not in rows:
            rows[each.email] = row(each.email, "", None, inside=False, internal=True)
    frame = pl.DataFrame(list(rows.values()), schema=USERS, orient="row").sort("username")
    return Read(frame, problems + unreadable)


def read_invitations(records: Iterable[Record]) -> tuple[list[Invitation], list[Problem]]:
    """Every invitation by e-mail and the time at which it ends, and those that cannot be read."""
    found: list[Invitation] = []
    problems: list[Problem] = []
    for record in records:
        try:
            state = (text(record["invitation_status"], "invitation_status") or "").lower()
            found.append(Invitation(id_of(record), user_name(record), state, _moment(record.get("expire_date"))))
        except (OddValueError, KeyError) as error:
            problems.append(problem(record.get("id"), error))
    latest = datetime.max.replace(tzinfo=UTC)
    return sorted(found, key=lambda each: (each.email, each.expires or latest)), problems


def id_of(record: Record) -> str:
    """The id of a record.

    Raises:
        OddValueError, KeyError: it has none.
    """
    found = record["id"]
    if not isinstance(found, str) or not found:
        raise OddValueError("id", f"is {kind(found)} where an id belongs")
    return found


def user_name(record: Record) -> str:
    """The e-mail of a record as a user name.

    Raises:
        OddValueError, KeyError: it has none.
    """
    found = user_name_of(address(record["email"], "email") or "")
    if not found:
        raise OddValueError("email", "is blank")
    return found


def full_name(record: Record) -> str:
    """First and last name with one space between them."""
    parts = (text(record.get(field), field) or "" for field in ("first_name", "last_name"))
    return " ".join(" ".join(parts).split())


def name_fields(name: str) -> dict[str, str]:
    """A full name as ezeep takes it: the first word, and the rest."""
    first, _, last = " ".join(name.split()).partition(" ")
    return {"first_name": first, "last_name": last}


def group_ids(member: Record) -> list[str]:
    """The groups that a user of the printing side is in.

    Raises:
        OddValueError: they cannot be read.
    """
    groups = member.get("groups")
    if not isinstance(groups, list):
        raise OddValueError("groups", f"is {kind(groups)} where a list belongs")
    found: list[str] = []
    for each in cast("list[object]", groups):
        id_ = cast("Record", each).get("group_id") if isinstance(each, Mapping) else None
        if not isinstance(id_, str) or not id_:
            raise OddValueError("groups", "holds something else than a group_id")
        found.append(id_)
    return found


def _moment(value: object) -> datetime | None:
    """A time as ezeep writes it, which without an offset is UTC; None where it is none."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found and found.tzinfo is None else found and found.astimezone(UTC)
