"""Versions as images and as what other systems take: built here, by the formats' own documents."""
