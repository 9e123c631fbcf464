"""Bundled image domains."""
