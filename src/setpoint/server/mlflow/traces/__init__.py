"""Traces of calls, and what people and judges say of them."""
