"""The broker's reads as the order gateway serves them over HTTP."""

from dtms.adapters.gateway_client.client import GatewayClient

__all__ = ["GatewayClient"]
