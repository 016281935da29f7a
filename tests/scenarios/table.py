"""The seventy scenarios of reliability.md 11.2, in its order, each with what shows it."""

from __future__ import annotations

from tests.scenarios import table_broker, table_crash, table_http, table_network, table_terms
from tests.scenarios.scenario import Scenario

SCENARIOS: tuple[Scenario, ...] = (
    *table_crash.SCENARIOS,
    *table_broker.SCENARIOS,
    *table_terms.SCENARIOS,
    *table_network.SCENARIOS,
    *table_http.SCENARIOS,
)
