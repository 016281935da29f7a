"""A broker library in a child process under a watchdog: a call that hangs is killed, and its outcome is told honestly.

It knows no vendor. The child imports a factory by name (`module:function`) and asks whatever broker that builds; only
domain values cross the border. `broker.BrokerWorker` is the way in.

One child holds one link and does one call at a time. Whoever serves reads beside a sender gives each a worker of its
own with one `pin.AccountPin` between them (MetaTrader 5 keeps one link a process, and two processes may attach to one
terminal): then nobody who reads waits behind an order that hangs, and no order behind a long history. Where a terminal
takes only one, one worker serves both: orders go first, and a read gives up its turn after `turn_timeout_s`.

Nothing is imported here: a child passes through at every start, and an order may be waiting for it.
"""
