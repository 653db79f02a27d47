"""Invented spaces: the people, prints and edits of a world that nobody lives in.

What belongs here: believable worlds, the same for the same seed. What does not: how the services behave.
"""
