"""Tests of versions beside one another, apart from releases."""
