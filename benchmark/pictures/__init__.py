"""Pictures of any kind in, masks out: what `benchmark.predict` reads and writes."""
