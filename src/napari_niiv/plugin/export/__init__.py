"""The window in which a volume is exported."""
