"""What people say about anything that has a name in the record, and whom they mention."""
