"""Training data: matched points of pseudo-trajectories, made once and stored as seeds and matches."""
