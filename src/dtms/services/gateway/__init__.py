"""The order gateway's HTTP side: the broker's facts for the other services. No order is ever taken over HTTP."""

from dtms.services.gateway.app import make_gateway_app

__all__ = ["make_gateway_app"]
