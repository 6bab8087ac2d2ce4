"""What a run can log that is no number: pictures, sounds, texts, tables, charts."""
