"""The service, the scheduler and what watches them on a cluster: docs/kubernetes.md."""
