"""The 3-D view: a box of a layer, isotropic, appearing block by block."""
