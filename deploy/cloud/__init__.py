"""What is in the cloud: Terraform run here (`terraform`, `check`), what it has made as variables (`variables`)."""
