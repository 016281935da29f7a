"""The main API: what people and other programs talk to; it hosts the exit manager and the dashboard."""

from dtms.services.api.app import make_api_app
from dtms.services.api.live import LiveApi, make_live_api, simulated_parts
from dtms.services.api.parts import ApiParts, ApiSite

__all__ = ["ApiParts", "ApiSite", "LiveApi", "make_api_app", "make_live_api", "simulated_parts"]
