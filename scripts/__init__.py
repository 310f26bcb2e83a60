"""Programs for those who work on Flo."""
