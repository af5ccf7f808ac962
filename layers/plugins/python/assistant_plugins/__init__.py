"""Bundled plug-ins, one file each, written with nothing but the public surface."""
