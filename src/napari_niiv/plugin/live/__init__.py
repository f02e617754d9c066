"""The live layer: what the viewer shows of a layer, reconstructed at the resolution of the screen."""
