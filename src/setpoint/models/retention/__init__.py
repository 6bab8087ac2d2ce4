"""Which versions stay, and giving back the bytes of those that do not."""
