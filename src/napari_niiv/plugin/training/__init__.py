"""The dock widget "Train on this volume"."""
