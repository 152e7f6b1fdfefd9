"""From a table that nobody has described to a draft of its contract, and a page about it."""
