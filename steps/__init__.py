"""Thin ZenML adapters, one module a stage, around calls into millrace."""
