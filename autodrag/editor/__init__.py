"""Editing sessions without a browser: the public API `Editor` and its parts."""
