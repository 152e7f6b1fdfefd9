"""Small programs that show one thing each, written to be read."""
