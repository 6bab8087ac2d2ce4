"""The protocols of the inference port over HTTP, a file each."""
