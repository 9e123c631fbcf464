"""Computer vision on images of any origin: landmarks, optical flow, features."""
