"""Networks and measures that look at pictures of any origin: landmarks, optical flow, features."""
