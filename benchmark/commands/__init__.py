"""The commands, one a file; each reads its options and calls one function of the package."""
