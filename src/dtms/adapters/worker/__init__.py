"""A broker library in a child process under a watchdog: a call that hangs is killed, and its outcome is told honestly.

It knows no vendor. The child imports a factory by name (`module:function`) and asks whatever broker that builds; only
domain values cross the border.

One child holds one link and does one call at a time. Whoever serves reads beside a sender gives each a worker of its
own with one `AccountPin` between them (MetaTrader 5 keeps one link a process, and two processes may attach to one
terminal): then nobody who reads waits behind an order that hangs, and no order behind a long history. Where a terminal
takes only one, one worker serves both: orders go first, and a read gives up its turn after `turn_timeout_s`.
"""

from dtms.adapters.worker.keeper import WorkerReport
from dtms.adapters.worker.pin import AccountPin
from dtms.adapters.worker.worker import BrokerWorker

__all__ = ["AccountPin", "BrokerWorker", "WorkerReport"]
