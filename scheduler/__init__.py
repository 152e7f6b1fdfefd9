"""What runs by itself: a calendar, Alertmanager's webhook, one durable queue, and one job at a time."""
