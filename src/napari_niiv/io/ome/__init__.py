"""OME-Zarr as it is written: arrays, and the metadata around them."""
