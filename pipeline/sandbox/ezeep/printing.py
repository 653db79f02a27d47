"""The printing service of ezeep: groups, memberships, printers (`ezeep-api.md` 3.4).

What belongs here: the functions behind its paths. What does not: the rules of users and groups (`directory`), jobs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pipeline.sandbox.ezeep.answers import AbsentError, InvalidError, gone, reply
from pipeline.sandbox.ezeep.calls import REQUIRED, Call, flag, page, text
from pipeline.sandbox.ezeep.directory import Group, User
from pipeline.sandbox.ezeep.routes import serves
from pipeline.sandbox.ezeep.switches import choice
from pipeline.sandbox.nexudus.answers import Answer

if TYPE_CHECKING:
    from pipeline.sandbox.ezeep.site import EzeepSite

Json = dict[str, Any]

FLAGS = ("local_printing_enabled", "myprinters_enabled")


@serves("api", "GET", "/printing/v1/groups/", "groups")
def list_groups(site: EzeepSite, call: Call) -> Answer:
    """The groups."""
    return reply(200, page(site.core, call, list(site.directory.groups.values()), lambda each: _group(site, each)))


@serves("api", "POST", "/printing/v1/groups/", "groups")
def add_group(site: EzeepSite, call: Call) -> Answer:
    """Make a group."""
    content = call.content()
    name = _free_name(site, content, None)
    if text(content, "organization_id") != site.organization:
        raise InvalidError("organization_id", "Invalid organization.")
    changes = _changes(content)
    group = site.directory.add_group(name)
    _change(group, changes)
    return reply(201, _group(site, group), invention="status 201")


@serves("api", "GET", "/printing/v1/groups/{id}", "groups")
def show_group(site: EzeepSite, call: Call) -> Answer:
    """One group."""
    return reply(200, _group(site, site.directory.group(call.parameters["id"])))


@serves("api", "PATCH", "/printing/v1/groups/{id}", "groups")
def change_group(site: EzeepSite, call: Call) -> Answer:
    """Change what a group is called and allows."""
    group, content = site.directory.group(call.parameters["id"]), call.content()
    changes = _changes(content)
    if "name" in content:
        changes["name"] = _free_name(site, content, group)
    _change(group, changes)
    return reply(200, _group(site, group))


@serves("api", "DELETE", "/printing/v1/groups/{id}", "groups")
def delete_group(site: EzeepSite, call: Call) -> Answer:
    """Take a group away; its members stay users."""
    site.directory.remove_group(call.parameters["id"])
    return gone()


@serves("api", "GET", "/printing/v1/users/", "printing/users")
def list_users(site: EzeepSite, call: Call) -> Answer:
    """The users as the printing service knows them."""
    known = [user for user in site.directory.users.values() if _is_known(site, user)]
    return reply(200, page(site.core, call, known, lambda user: user.printing()))


@serves("api", "GET", "/printing/v1/users/{id}", "printing/users")
def show_user(site: EzeepSite, call: Call) -> Answer:
    """One user with the groups."""
    return reply(200, _user(site, call).printing())


@serves("api", "PUT", "/printing/v1/users/{id}", "printing/users")
def put_user(site: EzeepSite, call: Call) -> Answer:
    """Put a user into exactly the groups named: those left out are removed."""
    user, content = _user(site, call), call.content()
    if "groups" not in content:
        raise InvalidError("groups", REQUIRED)
    user.groups = _memberships(site, content["groups"])
    return reply(200, user.printing())


@serves("api", "GET", "/printing/v1/printers/", "printers")
def list_printers(site: EzeepSite, call: Call) -> Answer:
    """The printers; of their fields only these two are known."""
    return reply(200, page(site.core, call, site.printers, dict), invention="fields of a printer")


@serves("api", "GET", "/printing/v1/assignments", "assignments")
def list_assignments(site: EzeepSite, call: Call) -> Answer:
    """Which groups may use which printers: in the sandbox every group uses all of them."""
    wanted = call.query.get("group")
    groups = [group for group in site.directory.groups.values() if wanted in (None, group.id)]

    def show(printer: Json) -> Json:
        return {
            "printer_id": printer["id"],
            "printer_name": printer["name"],
            "assignments": [{"settings": {}, "groups": [_assigned(group) for group in groups]}],
        }

    return reply(200, page(site.core, call, site.printers if groups else [], show), invention="settings")


def _assigned(group: Group) -> Json:
    return {"group_id": group.id, "group_name": group.name, "group_foreign_id": None, "force_chosen": False}


def _group(site: EzeepSite, group: Group) -> Json:
    return {
        "id": group.id,
        "name": group.name,
        "organization_id": site.organization,
        "description": group.description,
        "local_printing_enabled": group.local_printing_enabled,
        "myprinters_enabled": group.myprinters_enabled,
        "origin": {"provider": "ezeep"},
        "num_members": site.directory.members(group),
        "num_printers": len(site.printers),
    }


def _free_name(site: EzeepSite, content: Json, group: Group | None) -> str:
    """The name in a request, which another group may have unless a switch says otherwise."""
    name = text(content, "name")
    others = (each.name for each in site.directory.groups.values() if each is not group)
    if choice(site.core, "ezeep_group_names") == "unique" and name in others:
        raise InvalidError("name", "A group with this name already exists.")
    return name


def _changes(content: Json) -> Json:
    """The fields of a group that a request names, but for the name."""
    changes: Json = {name: flag(content, name, default=False) for name in FLAGS if name in content}
    if "description" in content:
        changes["description"] = text(content, "description", required=False)
    return changes


def _change(group: Group, changes: Json) -> None:
    for name, value in changes.items():
        setattr(group, name, value)


def _is_known(site: EzeepSite, user: User) -> bool:
    return user.is_verified or choice(site.core, "ezeep_invited_in_printing") == "yes"


def _user(site: EzeepSite, call: Call) -> User:
    user = site.directory.user(call.parameters["id"])
    if not _is_known(site, user):
        raise AbsentError
    return user


def _memberships(site: EzeepSite, value: object) -> list[str]:
    """The ids of groups in `[{"group_id": ...}]`, each once."""
    if not isinstance(value, list):
        raise InvalidError("groups", "Expected a list of items.")
    entries = cast("list[object]", value)
    named = [cast("Json", entry).get("group_id") if isinstance(entry, dict) else None for entry in entries]
    ids = [number for number in named if isinstance(number, str) and number in site.directory.groups]
    if len(ids) < len(named):
        raise InvalidError("groups", "There is no such group.")
    return list(dict.fromkeys(ids))
