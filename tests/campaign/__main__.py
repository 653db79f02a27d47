"""`python -m tests.campaign`: the proofs of money safety.

What belongs here: the door. What does not: the campaigns (`campaigns.py`): a process of a pool does not load this file.
"""

import sys

from tests.campaign.campaigns import main

if __name__ == "__main__":
    sys.exit(main())
