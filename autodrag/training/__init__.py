"""The training loop and the stages it trains."""
