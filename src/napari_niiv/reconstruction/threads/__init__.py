"""Threads on which the newest request wins: pictures, and regions in 3-D."""
