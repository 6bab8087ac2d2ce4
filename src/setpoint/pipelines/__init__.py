"""Steps as plain functions, wired by parameter names, their results named by content."""
