"""The tables of PaperCut's database column by column, and what each column can hold.

What belongs here: names and types of columns, and the check of a value before it is written. What does not: writing
(`database.py`), what the rows mean. Source: `papercut-api.md` 5.1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import date
from typing import Any

_CHANGES = """created_date timestamp, created_by varchar, modified_date timestamp, modified_by varchar,
    modified_ticks bigint"""

TABLES: dict[str, str] = {
    "tbl_user": f"""user_id bigint PRIMARY KEY, user_name varchar, external_user_name varchar, full_name varchar,
        email varchar, notes varchar, department varchar, office varchar, card_number varchar, card_number2 varchar,
        secondary_user_name varchar, home_directory varchar, internal char(1), disabled_printing char(1),
        disabled_net char(1), disabled_printing_until timestamp, disabled_net_until timestamp, total_jobs int,
        total_pages int, total_sheets int, net_total_megabytes float8, net_total_time_hours float8, reset_by varchar,
        net_reset_by varchar, reset_date timestamp, net_reset_date timestamp, last_user_activity timestamp,
        deleted char(1), deleted_date timestamp, {_CHANGES}""",
    "tbl_account": f"""account_id bigint PRIMARY KEY, account_type varchar, account_name varchar,
        account_name_lower varchar, sub_name varchar, sub_name_lower varchar, parent_id bigint, pin varchar,
        sub_pin varchar, balance float8, overdraft float8, restricted char(1), use_global_overdraft char(1),
        disabled char(1), disabled_until timestamp, invoicing varchar, comments varchar, notes varchar,
        deleted char(1), deleted_date timestamp, {_CHANGES}""",
    "tbl_printer": f"""printer_id bigint PRIMARY KEY, server_name varchar, printer_name varchar,
        display_name varchar, location varchar, notes varchar, device_type varchar, ext_device_function varchar,
        printer_type varchar, physical_printer_id varchar, serial_number varchar, parent_id bigint,
        charge_type varchar, color_detection_mode varchar, default_cost float8, disabled char(1),
        disabled_until timestamp, custom1 varchar, custom2 varchar, custom3 varchar, custom4 varchar,
        custom5 varchar, custom6 varchar, total_jobs int, total_pages int, total_sheets int, reset_by varchar,
        reset_date timestamp, server_uuid varchar, last_usage_date timestamp, web_print_enabled char(1),
        gcp_enabled char(1), gcp_printer_id varchar, deleted char(1), deleted_date timestamp, {_CHANGES}""",
    "tbl_printer_attribute": "printer_id bigint, attrib_name varchar, attrib_value varchar",
    "tbl_printer_usage_log": """printer_usage_log_id bigint PRIMARY KEY, usage_date timestamp, usage_day date,
        used_by_user_id bigint, charged_to_account_id bigint, assoc_with_account_id bigint, usage_cost float8,
        original_usage_cost float8, usage_allowed char(1), printer_id bigint, original_printer_id bigint,
        print_queue_id bigint, job_id varchar, job_uid varchar, document_name varchar(255), client_machine varchar,
        printer_language varchar, protocol varchar, total_pages int, total_sheets int, copies int, duplex_pages int,
        total_color_pages int, color_pages_estimated char(1), duplex char(1), gray_scale char(1), paper_size varchar,
        paper_height_mm int, paper_width_mm int, document_size_kb int, printed char(1), cancelled char(1),
        refunded char(1), invoiced char(1), replayed char(1), offline_usage char(1), denied_reason varchar,
        refund_status varchar, refund_request_id bigint, job_type varchar, job_comment varchar, signature varchar,
        hardware_check_status varchar, hardware_check_id varchar, archive_path varchar""",
    "tbl_account_transaction": """account_transaction_id bigint PRIMARY KEY, transaction_date timestamp,
        transacted_by varchar, account_id bigint, usage_log_type varchar, usage_log_id bigint, amount float8,
        balance float8, txn_comment varchar(255), is_credit char(1), transaction_type varchar,
        ext_device_id bigint""",
    "tbl_user_account": "user_id bigint, account_id bigint",
    "tbl_user_group": "user_id bigint, group_id bigint",
    "tbl_group": """group_id bigint PRIMARY KEY, group_name varchar, initial_settings_enabled char(1),
        initially_restricted char(1), initial_credit float8, schedule_period varchar, schedule_amount float8,
        allow_accum char(1), max_accum_balance float8, reset_statistics char(1), created_date timestamp,
        created_by varchar, modified_date timestamp, modified_by varchar, modified_ticks bigint""",
    "tbl_user_field_history": """user_id bigint, field_type varchar, field_value varchar, start_date timestamp,
        end_date timestamp""",
}
"""Each table's columns. The names are PaperCut's; the types are inferred from use."""

Store = Callable[[Any], Any]


class OutOfRangeError(ValueError):
    """A column cannot hold this value."""


def _whole(bits: int) -> Store:
    def store(value: Any) -> int:
        number = int(value)
        if not -(2 ** (bits - 1)) <= number < 2 ** (bits - 1):
            message = f"{str(value)[:40]} does not fit {bits} bits"
            raise OutOfRangeError(message)
        return number

    return store


def _double(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        message = f"{str(value)[:40]} is no finite number"
        raise OutOfRangeError(message)
    return number


def _text(longest: int | None) -> Store:
    def store(value: Any) -> str:
        text = str(value).encode("utf-8", "replace").decode()  # half a surrogate pair becomes ?, as Java writes it
        if "\0" in text or (longest is not None and len(text) > longest):
            message = f"{text[:40]!r} has a NUL or is longer than {longest} characters"
            raise OutOfRangeError(message)
        return text

    return store


def _moment(value: Any) -> date:
    if not isinstance(value, date):
        message = f"{str(value)[:40]!r} is no date"
        raise OutOfRangeError(message)
    return value


_TYPES: dict[str, Store] = {
    "bigint": _whole(64),
    "int": _whole(32),
    "float8": _double,
    "timestamp": _moment,
    "date": _moment,
    "char(1)": _text(1),
    "varchar": _text(None),
    "varchar(255)": _text(255),
}
COLUMNS: dict[str, dict[str, Store]] = {
    table: {name: _TYPES[kind] for name, kind in re.findall(r"(?:^|,)\s*(\w+) ([\w()]+)", columns)}
    for table, columns in TABLES.items()
}
"""What turns a value into the one that its column keeps; `OutOfRangeError` when it cannot."""


def stored(table: str, row: dict[str, Any]) -> dict[str, Any]:
    """A row, or a part of one, as the table keeps it.

    Raises:
        OutOfRangeError: a column cannot hold its value; the message names both.
    """
    kept = COLUMNS[table]
    result: dict[str, Any] = {}
    for name, value in row.items():
        try:
            result[name] = None if value is None else kept[name](value)
        except (ValueError, TypeError, ArithmeticError) as error:
            message = f"{table}.{name}: {error}"
            raise OutOfRangeError(message) from None
    return result
