"""What people decide and say about models: approvals, protected aliases, comments."""
