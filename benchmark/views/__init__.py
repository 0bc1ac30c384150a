"""The operations that views are made of, batched; `benchmark.augment` makes the views."""
