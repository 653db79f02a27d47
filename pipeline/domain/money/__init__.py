"""What a job costs whom, what pays for it, and whether the books agree.

What belongs here: rules about jobs, credits and ledger lines. What does not: rules about print users (`people`).
"""
