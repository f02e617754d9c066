"""Fitting a model to volumes, as a generator of events."""
