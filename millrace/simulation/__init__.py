"""Weeks of made-up traffic for a running service, with outcomes that come late: to rehearse, and to test.

Rows are those of the problem's own table that the champion has not learnt from, drawn again and again; a
scenario says what happens to them and to their outcomes. The service is only ever asked by HTTP.
"""

from millrace.simulation.plan import Plan
from millrace.simulation.replay import DayReport, Replay, replay
from millrace.simulation.scenarios import SCENARIOS, Scenario, World
from millrace.simulation.service import Service
from millrace.simulation.traffic import Traffic
from millrace.simulation.world import make_world

__all__ = [
    "SCENARIOS",
    "DayReport",
    "Plan",
    "Replay",
    "Scenario",
    "Service",
    "Traffic",
    "World",
    "make_world",
    "replay",
]
