"""What a GPU driver says of its devices: identity, counters, links, telemetry, events."""
