"""A module a command of `ser`."""
