"""What a training learns from: volumes, boxes of them in memory, patches."""
