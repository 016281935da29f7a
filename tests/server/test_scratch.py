from __future__ import annotations
import time
from typing import Any
import json
def test_x(world: Any, make_world: Any) -> None:
    t=time.time(); make_world(); print("make", time.time()-t)
    t = world.opened()
    a = world.ask("POST", "/dtms/trade/enable", world.order(t))
    print(a.status, json.dumps(a.json, indent=1))
    a = world.ask("GET", f"/dtms/trade/{t}")
    print(a.status, a.headers)
    h = world.hedged()
    world.clock.sleep(300)
    world.server.monitor.tick()
    b=time.time()
    a = world.ask("GET", f"/dtms/trade/{h}/explain"); print(time.time()-b)
    print(a.status, json.dumps(a.json, indent=1))
    for p in ("/dtms/status", "/metrics", "/dtms/actions", "/dtms/trades", "/dtms/health"):
        a = world.ask("GET", p); print(p, a.status, a.body.decode()[:1500])
    a = world.ask("POST", "/dtms/states", {"tickets":[t,h,5]}, token=None); print(a.json)
    a = world.ask("DELETE", f"/dtms/trade/{h}"); print(a.status, a.json)
    a = world.ask("DELETE", f"/dtms/trade/{h}?force=true"); print(a.status, a.body)
    a = world.ask("GET", f"/dtms/trade/{h}"); print(a.status, a.json)
    e = world.order(h, volume=0.2); 
    a = world.ask("POST", "/dtms/trade/enable", e); print(a.status, a.json)
