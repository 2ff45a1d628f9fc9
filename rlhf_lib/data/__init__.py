"""Embedded corpora, each a CSV file with a card of the same name beside it."""
