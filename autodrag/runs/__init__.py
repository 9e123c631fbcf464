"""Run folders: their files and locks, and the processes (ranks) of a run."""
