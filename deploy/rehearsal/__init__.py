"""The loop, played through: traffic drifts, an alarm starts a retraining, another model serves."""
