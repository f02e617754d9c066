"""Files in napari: opened, asked about, given their voxel size and axes, copied."""
