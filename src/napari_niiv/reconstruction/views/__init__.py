"""One picture of a plane, at any window and pitch: request, what is read for it, latent grids, response."""
