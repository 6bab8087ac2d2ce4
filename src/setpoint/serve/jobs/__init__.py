"""Requests that are answered later: taken, kept, scored behind the others, fetched."""
