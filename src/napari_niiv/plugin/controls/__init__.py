"""The controls of the dock widget "Isotropic reconstruct", each with its rows of the form."""
