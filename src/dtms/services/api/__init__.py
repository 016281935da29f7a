"""The main API: what people and other programs talk to; it hosts the exit manager and the dashboard."""

from dtms.services.api.app import make_api_app
from dtms.services.api.parts import ApiParts, ApiSite

__all__ = ["ApiParts", "ApiSite", "make_api_app"]
