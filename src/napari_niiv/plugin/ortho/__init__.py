"""Ortho views: three planes beside each other, linked by a cross-hair."""
