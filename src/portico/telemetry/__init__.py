"""What the gateway tells about itself: logs and metrics. Loaded piece by piece: nothing is imported here."""
