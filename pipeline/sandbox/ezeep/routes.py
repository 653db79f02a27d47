"""Which call reaches which function of the ezeep sandbox, how it is counted, and who may make it.

What belongs here: the registry of paths, last slashes, tokens and scopes at the door. What does not: what the functions
do (`account`, `printing`, `reporting`, `webhooks`, `signin`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from starlette.routing import compile_path

from pipeline.sandbox.ezeep.answers import AbsentError, DeniedError, FailureError, moved
from pipeline.sandbox.ezeep.calls import Call
from pipeline.sandbox.ezeep.switches import choice
from pipeline.sandbox.nexudus.answers import Answer

if TYPE_CHECKING:  # the functions and the organisation know each other
    from pipeline.sandbox.ezeep.site import EzeepSite

Function = Callable[["EzeepSite", Call], Answer]


class Method(NamedTuple):
    """What one method of a path does."""

    function: Function
    scopes: tuple[str, ...] | None
    """Any of these is needed of the token; None: no token is."""


class Route(NamedTuple):
    """A path of a service, and what each of its methods does."""

    service: str
    pattern: re.Pattern[str]
    name: str
    slashed: bool
    """Whether its documentation always writes a last slash."""
    methods: dict[str, Method]


ROUTES: list[Route] = []


def serves(
    service: str, method: str, path: str, name: str, scopes: tuple[str, ...] | None = ("printing",)
) -> Callable[[Function], Function]:
    """Register a function for a path.

    Args:
        service: `account` or `api`.
        method: of HTTP.
        path: below the address of the service, `{id}` for a part that varies. With a last slash a call without it is
            redirected; without one both are served, as the documentation writes both.
        name: how its calls are counted, after the method: `users`.
        scopes: one of these is needed of the token where the switch `ezeep_scopes` says so; None: no token is needed.
    """

    def register(function: Function) -> Function:
        pattern = compile_path(path.rstrip("/"))[0]
        found = next((each for each in ROUTES if (each.service, each.pattern) == (service, pattern)), None)
        route = found or Route(service, pattern, name, path.endswith("/"), {})
        route.methods[method] = Method(function, scopes)
        if not found:
            ROUTES.append(route)
        return function

    return register


def route_of(service: str, path: str) -> Route | None:
    """The first route whose path this is, with or without a last slash."""
    trimmed = path.removesuffix("/")
    return next((each for each in ROUTES if each.service == service and each.pattern.match(trimmed)), None)


def call_name(service: str, method: str, path: str) -> str:
    """How a call is counted and matched by faults: `POST userinvitations`, `PUT printing/users`, `POST access_token`.

    Args:
        service: `account` or `api`.
        method: the HTTP method.
        path: what follows the address of the service, its first slash included.
    """
    route = route_of(service, path)
    return f"{method} {route.name if route else path.strip('/')}"


def answer(site: EzeepSite, call: Call) -> Answer:
    """The answer to a call; every refusal is an answer, too."""
    try:
        return _answer(site, call)
    except FailureError as failure:
        return failure.answer


def _answer(site: EzeepSite, call: Call) -> Answer:
    route = route_of(call.service, call.path)
    if route is None:
        raise AbsentError
    if route.slashed and not call.path.endswith("/") and choice(site.core, "ezeep_slash") == "redirect":
        return moved(f"{call.address}{call.path}/")
    method = route.methods.get(call.method)
    if method is None:
        raise FailureError(405, {"detail": f'Method "{call.method}" not allowed.'})
    if method.scopes is not None:
        _check_token(site, call, method.scopes)
    match = route.pattern.match(call.path.removesuffix("/"))
    return method.function(site, call._replace(parameters=match.groupdict() if match else {}))


def _check_token(site: EzeepSite, call: Call, scopes: tuple[str, ...]) -> None:
    granted = site.signin.scopes(call.headers)
    if granted is None:
        raise DeniedError
    if choice(site.core, "ezeep_scopes") == "enforce" and not granted.intersection(scopes):
        raise DeniedError(403, f"The token lacks the scope {' or '.join(scopes)}.")
