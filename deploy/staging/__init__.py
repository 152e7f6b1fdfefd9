"""Staging on one machine: the servers a team shares, as plain processes on 127.0.0.1, kept between starts."""
