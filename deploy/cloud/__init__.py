"""Terraform run here (`terraform`, `check`), and what it has made in the cloud as variables (`variables`)."""
