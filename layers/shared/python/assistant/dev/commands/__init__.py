"""One module for each command of `assistant`."""
