"""Plug-ins as they were written for earlier versions of the contract. Frozen: a change hides that somebody's plug-in broke."""
