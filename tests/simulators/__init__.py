"""Vendors played by strict local HTTP servers."""
