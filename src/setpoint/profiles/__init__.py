"""Additive summaries of rows: numpy only, nothing here reads or writes anything."""
