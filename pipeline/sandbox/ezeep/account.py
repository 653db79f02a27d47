"""The account service of ezeep: users, invitations and organisations (`ezeep-api.md` 3.1 to 3.3).

What belongs here: the functions behind its paths. What does not: the rules of users and invitations (`directory`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pipeline.sandbox.ezeep.answers import InvalidError, gone, reply
from pipeline.sandbox.ezeep.calls import Call, address, moment, page, text
from pipeline.sandbox.ezeep.routes import serves
from pipeline.sandbox.nexudus.answers import Answer

if TYPE_CHECKING:
    from pipeline.sandbox.ezeep.directory import Invitation, User
    from pipeline.sandbox.ezeep.site import EzeepSite

Json = dict[str, Any]

ROLES = {"admin", "user"}


@serves("account", "POST", "/v1/userinvitations/", "userinvitations")
@serves("account", "POST", "/v1/users/userinvitations/", "userinvitations")
def invite(site: EzeepSite, call: Call) -> Answer:
    """Invite a person, under either of the two documented paths."""
    content = call.content()
    invitation = site.directory.invite(address(content), moment(content, "expire_date"))
    return reply(201, invitation.shown(site.core.clock.now()), invention="status 201")


@serves("account", "GET", "/v1/userinvitations/", "userinvitations")
@serves("account", "GET", "/v1/users/userinvitations/", "userinvitations")
def list_invitations(site: EzeepSite, call: Call) -> Answer:
    """The invitations of all users that are there."""

    def show(invitation: Invitation) -> Json:
        return invitation.shown(site.core.clock.now())

    return reply(200, page(site.core, call, site.directory.invitations(), show))


@serves("account", "PATCH", "/v1/userinvitations/{id}", "userinvitations")
@serves("account", "PATCH", "/v1/users/userinvitations/{id}", "userinvitations")
def resend(site: EzeepSite, call: Call) -> Answer:
    """Send an invitation once more."""
    content = call.content() if call.body.strip() else {}
    expires = moment(content, "expire_date") if content.get("expire_date") else None
    invitation = site.directory.resend(call.parameters["id"], expires)
    return reply(200, {"id": invitation.id}, invention="new expiry date of a resent invitation")


@serves("account", "GET", "/v1/users/", "users")
def list_users(site: EzeepSite, call: Call) -> Answer:
    """The users, in the order in which they were made."""

    def show(user: User) -> Json:
        return user.shown(site.core.clock.now())

    return reply(200, page(site.core, call, list(site.directory.users.values()), show))


@serves("account", "GET", "/v1/users/{id}", "users")
def show_user(site: EzeepSite, call: Call) -> Answer:
    """One user."""
    return reply(200, site.directory.user(call.parameters["id"]).shown(site.core.clock.now()))


@serves("account", "PATCH", "/v1/users/{id}", "users")
def change_user(site: EzeepSite, call: Call) -> Answer:
    """Change names, address or roles; other fields are passed over."""
    user, content = site.directory.user(call.parameters["id"]), call.content()
    names = {each: text(content, each, required=False) for each in ("first_name", "last_name") if each in content}
    roles = _roles(content["roles"]) if "roles" in content else user.roles
    if "email" in content:
        site.directory.rename(user, address(content))
    for name, value in names.items():
        setattr(user, name, value)
    user.roles = roles
    return reply(200, user.shown(site.core.clock.now()))


@serves("account", "DELETE", "/v1/users/{id}", "users")
def delete_user(site: EzeepSite, call: Call) -> Answer:
    """Take a user away, with invitations and memberships."""
    site.directory.remove(call.parameters["id"])
    return gone(invention="path and status of deleting a user")


@serves("account", "GET", "/v1/organizations/", "organizations")
def list_organizations(site: EzeepSite, call: Call) -> Answer:
    """The organisations that the caller belongs to."""
    return reply(200, page(site.core, call, site.organizations, lambda each: each))


def _roles(value: object) -> list[str]:
    """Roles as a list, or as the one text of the documented example."""
    given = cast("list[object]", value) if isinstance(value, list) else [value]
    roles = [role for role in given if isinstance(role, str)]
    if not roles or len(roles) < len(given) or not set(roles) <= ROLES:
        raise InvalidError("roles", "Roles are admin and user.")
    return roles
