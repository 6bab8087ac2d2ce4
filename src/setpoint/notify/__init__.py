"""Telling people and programs what changed: webhooks, Slack, e-mail."""
