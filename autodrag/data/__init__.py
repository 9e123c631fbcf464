"""Training data: pseudo-trajectories with matched points, stored as seeds and matches."""
