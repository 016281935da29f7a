"""MetaTrader 5 as our broker: reads for everybody, the sender for a gateway that is armed.

The vendor's words stop here. The package itself is never imported: whoever wires hands it in.
"""

from dtms.adapters.mt5.broker import Mt5Broker
from dtms.adapters.mt5.sender import Mt5Sender
from dtms.adapters.mt5.surface import Mt5Module

__all__ = ["Mt5Broker", "Mt5Module", "Mt5Sender"]
