"""Nexudus over REST: sessions, whole lists, single records, and what each answer means."""
