"""Readers, one module a format: each returns a `StoredVolume`, lazily."""
