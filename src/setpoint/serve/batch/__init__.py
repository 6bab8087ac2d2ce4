"""Tables scored as requests are: in chunks, resumable, with the same log."""
