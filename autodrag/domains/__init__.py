"""Domains that ship with the project."""
