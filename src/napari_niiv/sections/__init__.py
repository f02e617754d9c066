"""Sections that are blank, repeated, displaced, darker or brighter than their neighbours: found, said, and repaired."""
