"""What people keep and say about models: the registry beyond the weights."""
