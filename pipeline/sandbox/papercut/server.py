"""One PaperCut server's XML-RPC entry: which call reaches which method, who may call, and what a refusal says.

What belongs here: the registry of methods by exact argument types, the address list, the token, fault texts. What does
not: what the methods do (`users`, `system`), bytes (`wire`). Source: `papercut-api.md` 1.4, 1.5 and 2.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

from pipeline.sandbox import wire
from pipeline.sandbox.columns import OutOfRangeError
from pipeline.sandbox.core import Core
from pipeline.sandbox.papercut.jobs import Jobs
from pipeline.sandbox.papercut.records import Records
from pipeline.sandbox.papercut.values import RefusedError
from pipeline.sandbox.switches import FAULT_TEXTS

ADDRESSES_KEY = "auth.webservices.allowed-addresses"
AUTH_KEY = "auth.webservices.auth-token"

ADDRESS_FAULT = "Access denied. Your IP address is not allowed to access the Web Services API."
"""A real text; whether a class name stands before it is unknown."""

_HANDLER = "biz.papercut.pcng.webservices.xmlrpc.ApiRPCHandler$$EnhancerBySpringCGLIB$$57c74f91"
_CODES: dict[type, str] = {bool: "B", int: "I", float: "D", str: "S", list: "V", dict: "H"}

Method = Callable[..., Any]
METHODS: dict[tuple[str, str], Method] = {}
"""Each overload by name and argument types, the token left out."""


class NoSuchMethodError(Exception):
    """No overload takes these arguments."""


class AddressError(Exception):
    """The caller's address is not in the list."""


def method(name: str, *signatures: str) -> Callable[[Method], Method]:
    """Register a function under its name on the wire.

    Args:
        name: without the prefix `api.`.
        signatures: the argument types of each overload after the token, a letter each: S string, I int, D double,
            B boolean, V array. The function gets the server, then these; None as its result is sent as true.
    """

    def register(function: Method) -> Method:
        METHODS.update({(name, signature): function for signature in signatures})
        return function

    return register


class Server:
    """The server behind one site's endpoint.

    Args:
        config: PaperCut's configuration keys; shared with the records.
    """

    def __init__(self, core: Core, records: Records, jobs: Jobs, config: dict[str, str]) -> None:
        self.core = core
        self.records = records
        self.jobs = jobs
        self.config = config
        self.task_message = ""
        self.admins: set[str] = set()
        self._addresses_at_start = config[ADDRESSES_KEY]

    def switch(self, name: str, default: Any) -> Any:
        """The value of a switch of the sandbox."""
        return self.core.switch(name, default)

    def answer(self, call: wire.Call, address: str) -> bytes:
        """Run one call and give the response body; every refusal is a fault, never an exception."""
        code = int(self.switch("fault_code", 0))
        try:
            with self.jobs.unit:
                return wire.response(self._run(call, address))
        except NoSuchMethodError:
            name = call.method.rpartition(".")[2]
            types = wire.java_types(call.arguments)
            return wire.fault(f"java.lang.NoSuchMethodException: {_HANDLER}.{name}({types})", code)
        except AddressError:
            return wire.fault(ADDRESS_FAULT, code)
        except (RefusedError, OutOfRangeError) as error:
            refused = error if isinstance(error, RefusedError) else RefusedError("bad_value", str(error))
            text = str(self.switch(f"fault_text_{refused.kind}", FAULT_TEXTS[refused.kind]))
            prefix = str(self.switch("fault_prefix", "java.lang.Exception: <class>: "))
            prefix = "" if prefix == "none" else prefix.replace("<class>", "biz.papercut.pcng.service.ServiceException")
            return wire.fault(prefix + text.replace("{name}", refused.name), code)
        except HandlerError as error:
            return wire.fault(f"java.lang.Exception: {error}", code)
        except Exception as error:  # noqa: BLE001 - the library answers whatever a method throws, and so does this
            return wire.fault(f"java.lang.Exception: java.lang.{type(error).__name__}: {error}", code)

    def _run(self, call: wire.Call, address: str) -> Any:
        handler, _, name = call.method.rpartition(".")
        if call.method == "system.multicall" and self.switch("multicall", "off") == "on":
            return self._run_all(call, address)
        if handler != "api":
            missing = f'"{handler}" not found and' if handler else f'not found for "{call.method}":'
            raise HandlerError(f"RPC handler object {missing} no default handler registered")
        types = "".join(_CODES.get(argument.__class__, "?") for argument in call.arguments)
        without_token = name == "getTaskStatus"
        function = METHODS.get((name, types if without_token else types[1:]))
        if not function or not (without_token or types.startswith("S")):
            raise NoSuchMethodError
        self._check_address(address)
        if without_token:
            return function(self)
        self._check_token(call.arguments[0])
        result = function(self, *call.arguments[1:])
        return True if result is None else result

    def _run_all(self, call: wire.Call, address: str) -> list[Any]:
        results: list[Any] = []
        for entry in call.arguments[0]:
            try:
                results.append([self._run(wire.Call(entry["methodName"], entry["params"]), address)])
            except (NoSuchMethodError, AddressError, RefusedError, HandlerError) as error:
                results.append({"faultString": str(error), "faultCode": 0})
        return results

    def _check_address(self, address: str) -> None:
        """The list comes before the token; entries are compared as they stand, so one with a space never matches."""
        live = self.switch("address_list", "live") != "restart"
        if address not in (self.config[ADDRESSES_KEY] if live else self._addresses_at_start).split(","):
            raise AddressError

    def _check_token(self, token: str) -> None:
        accepted = tokens(self.config[AUTH_KEY])
        if self.switch("admin_token", "off") == "on":
            accepted.append(self.config.get("admin-password", "admin"))
        if token not in accepted:
            raise RefusedError("bad_token")


class HandlerError(Exception):
    """No handler is registered under the prefix of the method."""


def tokens(setting: str) -> list[str]:
    """The tokens in the setting: a plain string, a JSON array of strings, or a JSON object of name to token."""
    try:
        value = json.loads(setting)
    except (ValueError, RecursionError):
        return [setting]
    match value:
        case list():
            return [str(token) for token in cast("list[object]", value)]
        case dict():
            return [str(token) for token in cast("dict[str, object]", value).values()]
        case _:
            return [setting]


def strings(values: list[Any]) -> list[str]:
    """The array, if it holds strings only.

    Raises:
        RefusedError: it does not.
    """
    if not all(isinstance(value, str) for value in values):
        raise RefusedError("bad_list")
    return values


def pairs(values: list[Any]) -> list[tuple[str, str]]:
    """The array of `[name, value]` arrays as pairs.

    Raises:
        RefusedError: it is not one.
    """
    result: list[tuple[str, str]] = []
    for value in values:
        pair = strings(cast("list[Any]", value)) if isinstance(value, list) else []
        if len(pair) != 2:
            raise RefusedError("bad_list")
        result.append((pair[0], pair[1]))
    return result


def page(names: list[str], offset: int, limit: int) -> list[str]:
    """One page of a sorted list."""
    return names[max(offset, 0) : max(offset, 0) + max(limit, 0)]
