"""Tasks, metrics, detectors and reports: every method measured in the same way."""
