"""Names that napari's manifest (napari.yaml) gives this plugin and its dock widgets."""

PLUGIN, WIDGET, TRAINING = "napari-niiv", "Isotropic reconstruct", "Train on this volume"
