"""Editing sessions without a browser: the public API `Editor`, and what it is made of."""
