"""What the plugin's wings share: layers as volumes, background work, forms, words."""
