"""What servers ask the database again and again, to see whether anything has changed."""
