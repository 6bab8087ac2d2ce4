"""Standing questions about profiles, and the alarms that answer them."""
