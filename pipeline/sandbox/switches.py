"""Every switch of the sandbox by name, and the check that a value is one that the switch can take.

What belongs here: the switches of PaperCut (`papercut-api.md` 9; the others are in `nexudus/switches.py` and
`ezeep/switches.py`), its invented fault texts, and the check. What does not: what they do (search for the name).

Each row lists what the switch takes, the default first: a word stands for itself, a number for any number, None for
null, a list for a list of texts, a map for a map of texts, `TEXT` for any text.
"""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Mapping
from typing import Any, cast

from pipeline.sandbox.ezeep.switches import SWITCHES as EZEEP
from pipeline.sandbox.nexudus.switches import SWITCHES as NEXUDUS

TEXT = "<any text>"
LARGEST = 1e9
"""No number of a switch is larger: 31 years in seconds."""

LOG_FIELDS = [
    "date", "time", "server", "printer", "user", "account", "client", "document", "pages", "color_pages", "copies",
    "cost", "duplex", "grayscale", "size",
]  # fmt: skip
"""The default columns of the print log; those after `copies` are unknown (switch `text_log_layout`)."""

PAPERCUT: dict[str, tuple[Any, ...]] = {
    # 9.1 server and faults
    "fault_prefix": ("java.lang.Exception: <class>: ", "none", TEXT),
    "fault_code": (0, 1),
    "address_list": ("live", "restart"),
    "admin_token": ("off", "on"),
    "string_int": ("fault", "empty_list"),
    "multicall": ("off", "on"),
    # minml: the parser of the library reads as its default one does, see `wire.py`
    "xml_reader": ("strict", "minml"),
    # a request that is not XML-RPC: HTTP 500, or the connection closed without a word; never a fault
    "unreadable_request": ("status_500", "close"),
    # 9.2 users
    "internal_disabled": ("allow", "fault"),
    "password_min": (0, "config"),
    "pin_rule": ("any", "digits", 4),
    "duplicate_card": ("allow", "fault"),
    "licence_limit": (None, "none", 100),
    "licence_over": ("fault", "allow_and_warn"),
    "recreate": ("new_row", "revive"),
    "at_name": ("accept_but_no_sign_in", "fault"),
    "clear_card": ("empty_or_space", "space_only"),
    "set_internal": ("ignore", "fault", "honour"),
    "create_arity": ("both", 6, 7),
    "initial_credit": ("off", 2.5),
    # 9.3 jobs and ledger
    # what a refund leaves behind, see `papercut/refunds.py`
    "partial_refund": (
        "lower_cost",
        "set_flag",
        "both",
        "status_only",
        "cost_only",
        "no_original",
        "transaction",
        "adjustment",
    ),
    # every job goes to the user `anonymous` once it is done, as the privacy option of this name does
    "anonymize_jobs": ("off", "on"),
    "txn_types": ({},),
    "job_values": ({},),
    "pages_with_copies": ("yes", "no"),
    "process_job_defaults": ({},),
    "text_log_layout": (LOG_FIELDS,),
    "csv_layout": ("cost", "print_logger", "job_log"),
    "print_file_encoding": ("utf-8", TEXT),
    "offline_rows": (0, "off", 30.0),
    "flatten_names": ("off", "on"),
}

FAULT_TEXTS = {
    "bad_token": "Invalid authentication token supplied.",
    "unknown_user": "User '{name}' does not exist.",
    "unknown_property": "Unknown property: {name}",
    "user_exists": "A user with the name '{name}' already exists.",
    "unknown_printer": "Printer '{name}' does not exist.",
    "unknown_group": "Group '{name}' does not exist.",
    "group_exists": "Group '{name}' already exists.",
    "unknown_account": "Account '{name}' does not exist.",
    "account_exists": "Account '{name}' already exists.",
    "internal_disabled": "Internal users are not enabled.",
    "bad_name": "Invalid user name '{name}'.",
    "short_password": "The password must have at least {name} characters.",
    "bad_pin": "Invalid PIN.",
    "duplicate_card": "Card number is already in use.",
    "licence_limit": "The number of licensed users ({name}) has been exceeded.",
    "read_only": "Property cannot be set: {name}",
    "bad_number": "Not a number: {name}",
    "bad_value": "Value out of range: {name}",
    "bad_job": "Invalid job details: {name}",
    "bad_list": "Invalid list argument.",
    "unknown_job": "Job {name} does not exist.",
    "bad_refund": "Job {name} has no such amount to refund.",
}
"""Every text here is ours: the real ones are unknown. The switch `fault_text_<kind>` replaces one."""

KNOWN: Mapping[str, tuple[Any, ...]] = {
    **NEXUDUS,
    **PAPERCUT,
    **EZEEP,
    **{f"fault_text_{kind}": (text, TEXT) for kind, text in FAULT_TEXTS.items()},
}
"""All switches of all services."""

_RANGES = {
    "denied_code": (400, 599),
    "throttle_requests": (0, LARGEST),
    "latency_ms": (0, 60_000),
    "ezeep_page_size": (1, 1000),
    "ezeep_report_polls": (0, 1000),
    "ezeep_report_lag_seconds": (0, LARGEST),
}


def checked(name: str, value: object) -> object:
    """A value for a switch, if it is one that the switch can take.

    Raises:
        ValueError: there is no such switch (the message lists those that are), or it does not take this value.
    """
    if name not in KNOWN:
        message = f"unknown switch {name!r}; known: {', '.join(sorted(KNOWN))}"
        raise ValueError(message)
    least, most = _RANGES.get(name, (-LARGEST, LARGEST))
    taken = any(_is_like(value, example) for example in KNOWN[name])
    if taken and isinstance(value, int | float):
        taken = least <= value <= most
    if taken and name == "print_file_encoding":
        codecs.lookup(str(value))
    if not taken:
        message = f"switch {name!r} can be {', '.join(map(_shown, KNOWN[name]))}, not {value!r}"
        raise ValueError(message)
    return value


def _is_like(value: object, example: object) -> bool:
    match example:
        case str():
            return value == example or (example == TEXT and isinstance(value, str))
        case int():
            return _is_number(value) and bool(re.fullmatch(r"[+-]?\d+(\.0+)?", str(value)))
        case float():
            return _is_number(value)
        case list() | tuple():
            return isinstance(value, list | tuple) and _are_texts(cast("list[object]", value))
        case dict():
            return isinstance(value, dict) and _are_texts(cast("dict[str, object]", value).values())
        case _:
            return value is example


def _is_number(value: object) -> bool:
    """A number, or the text of one, that is not too large."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    try:
        return math.isfinite(number := float(value)) and abs(number) <= LARGEST
    except (ValueError, OverflowError):
        return False


def _are_texts(values: Any) -> bool:
    return all(isinstance(value, str) for value in values)


def _shown(example: object) -> str:
    match example:
        case str():
            return example
        case None:
            return "null"
        case list() | tuple():
            return "a list of texts"
        case dict():
            return "a map of texts"
        case _:
            return "a number"
