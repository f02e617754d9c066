"""The network: architecture, encoder, decoders, checkpoints and their cards."""
