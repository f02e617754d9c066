"""Volumes in and out: opened lazily with their voxel size, copied, written whole or not at all."""
