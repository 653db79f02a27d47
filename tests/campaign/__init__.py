"""The proofs of money safety: each module breaks printbridge in one way and asks the servers what happened.

What belongs here: worlds, breakage and the oracle, in a form that a short test and the long run share. What does
not: expectations of single features (the tests beside this folder). Nothing here reads a table of printbridge to decide
whether money is right; that is the servers' word alone.
"""
