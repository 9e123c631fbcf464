"""Folders of runs: their files, their locks, and the processes that share them."""
