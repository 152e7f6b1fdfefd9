"""Grafana's dashboards as code, a module each; `python -m deploy.grafana` writes them as JSON."""
