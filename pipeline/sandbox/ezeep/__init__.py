"""An ezeep Blue organisation of the sandbox, as `ezeep-api.md` describes it; its unknowns are switches or labelled.

    site.py       the parts together, and what the control endpoint asks
    routes.py     which call reaches which function, who may call
    signin.py     tokens
    account.py    the account service: users, invitations, organisations
    printing.py   the printing service: groups, memberships, printers
    reporting.py  reports made on request
    webhooks.py   who is told of jobs, and telling them
    directory.py  users, invitations and groups, with their rules
    jobs.py       what was printed, and the rows of a report
    answers.py    pages and every way to fail
    switches.py   one for each unknown that a caller may stumble over

What belongs here: ezeep Blue. What does not: HTTP connections, faults and the control endpoint (`app.py`). An answer
whose form no public source states carries the header `X-Sandbox-Invention`, which says what was invented.
"""

from pipeline.sandbox.ezeep.site import EzeepSite

__all__ = ["EzeepSite"]
