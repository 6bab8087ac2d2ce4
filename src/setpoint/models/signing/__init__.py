"""Signatures under the files of a version, by keys of one's own."""
