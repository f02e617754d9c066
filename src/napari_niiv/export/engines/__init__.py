"""Who computes the units of an export: this process, or workers of dask, on whose computers each has a GPU."""
