"""The switches of the Nexudus sandbox: one for each unknown of `nexudus-api.md` 10, the first value is the default.

What belongs here: names and values. What does not: what they do (search for the name).
"""

from __future__ import annotations

from typing import Any

from pipeline.sandbox.core import Core

SWITCHES: dict[str, tuple[Any, ...]] = {
    # 10.1 credits and sales
    "credit_put_remaining": ("ignore", "honour", "reject_400"),
    "credit_put_total": ("ignore", "honour", "reject_400"),
    "credit_command": ("none", {"key": "...", "effect": "use | set"}),
    "credit_delete": ("allow", "refuse_from_plan"),
    "credit_order": ("earliest_expiry", "lowest_id"),
    "credit_touches_coworker": ("no", "yes"),
    "sale_price_meaning": ("unit", "total"),
    "delete_invoiced_sale": ("refuse_400", "refuse_200_false", "refuse_500", "allow"),
    "negative_sale": ("refuse_400", "allow"),
    "notes_on_invoice": ("no", "yes"),
    "notes_max": (None, 255),
    "purchase_order_max": (None, 255),
    "text_over": ("truncate", "reject_400"),
    "system_id_write": ("ignore", "accept"),
    # what the bill run command does: the newest seen of it is nothing at all
    "bill_run": ("invoice", "nothing"),
    # what becomes of the sales of an invoice that staff voids or deletes
    "dropped_invoice_sales": ("keep", "release"),
    # whether a credit that has expired is still listed
    "expired_credits": ("stay", "vanish"),
    # whether a change of a team renews the UpdatedOn of its members
    "team_touches_coworker": ("no", "yes"),
    # 10.2 lists
    "list_omit": ((), ["PaperCutUserId"]),
    "list_lag_seconds": (0, 5.0),
    "filters_ignored": ((), ["CoworkerProduct_PurchaseOrder"]),
    # numbers_only: words are ignored (..._400: refused), 1 ascends and -1 descends
    "dir_meaning": ("0asc_1desc", "1asc_-1desc", "numbers_only", "numbers_only_400"),
    "list_archived": ("include", "hide"),
    "oversize_page": ("clamp", "reset_25", "reject_400", "honour"),
    "empty_total_pages": (0, 1),
    "page_fields": ("emit", "omit"),
    "string_match": ("contains", "exact"),
    "range_seconds": ("truncate_to_minute", "honour"),
    "batch_shape": ("array", "envelope"),
    "orderby_case": ("insensitive", "sensitive"),
    "line_bool_type": ("bool", "string"),
    # the list of invoice lines of all invoices is refused on the live service
    "line_list": ("needs_invoice", "all"),
    # 10.3 writes, errors, sign-in
    "put_value": ("id_only", "record"),
    "post_value": ("record", "id_only"),
    "put_race": ("last_write_wins", "reject_409"),
    "enum_words": ("accept", "reject_400"),
    "denied_roles": ((), ["CoworkerProduct-Create"]),
    "denied_code": (401, 403),
    "throttle": ("off", "429_text", "429_retry_after", "409_legacy"),
    "throttle_requests": (10, 100),
    "throttle_seconds": (1.0, 60.0),
    "coworker_daily_limit": (None, 50),
    "token_seconds": (604_799, 60),
    "refresh_days": (15, 30, 90),
    "refresh_needs_client_id": ("no", "yes"),
    "users_module": ("both", "sys", "spaces"),
    # all services
    "latency_ms": (0, 50),
    # these plan faults: see `app.py`
    "post_fault": ("off", "fail_not_created", "fail_created", "timeout_created"),
    "post_fault_times": (1, 5),
    "fault_burst": (0, 5),
}


def choice(core: Core, name: str) -> Any:
    """The value of a switch, or its default."""
    return core.switch(name, SWITCHES[name][0])
