"""From a model and a volume to isotropic voxels: blocks, regions, whole volumes; no window needed."""
