"""Computer vision: facial landmarks, optical flow, perceptual metrics."""
