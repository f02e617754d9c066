"""A model against interpolation, on volumes whose truth is known."""
