"""What the dashboard's own script makes of an answer, run as it stands in the page."""

from __future__ import annotations

import json
import shutil
import subprocess
from importlib.resources import files
from typing import Any

import pytest

_DOM = """
class Node {
  constructor(tag) { this.tag = tag; this.children = []; this.style = {}; this.own = ""; }
  append(...more) { this.children.push(...more); }
  replaceChildren(...more) { this.children = more; }
  set textContent(text) { this.own = text; }
  get text() { return this.own + this.children.map((child) => child.text ?? String(child)).join(""); }
}
const nodes = {};
const document = { createElement: (tag) => new Node(tag), getElementById: (id) => (nodes[id] ??= new Node(id)) };
"""
_ASK = """
const answers = JSON.parse(require("fs").readFileSync(0, "utf8"));
const told = answers.map((text) => row(parsed(text)).children.map((cell) => cell.text));
process.stdout.write(JSON.stringify(told));
"""
_SHOW = """
showTrades(parsed(require("fs").readFileSync(0, "utf8")));
const kind = (node) => ({ text: node.text, kind: node.className, within: node.children.map(kind) });
process.stdout.write(JSON.stringify(Object.fromEntries(Object.entries(nodes).map(([id, node]) => [id, kind(node)]))));
"""

TRADE: dict[str, Any] = {
    "ticket": 9_007_199_254_740_993,
    "symbol": "EURUSD",
    "direction": "BUY",
    "volume": 0.3,
    "volume_digits": 2,
    "digits": 5,
    "state": "HEALTHY",
    "pending_to": None,
    "hold": "none",
    "uncalibrated": False,
    "score": None,
    "r_multiple": 0.5,
    "stop_loss": 1.0169,
    "protection_active": True,
    "current_price": 1.0172,
    "profit": -3.5,
    "exits": None,
    "owner": "shared",
    "last_reason": 'said "9007199254740995": 9007199254740997, and \\',
}
_COLUMNS = (
    "ticket",
    "symbol",
    "side",
    "lots",
    "state",
    "score",
    "R",
    "stop",
    "price",
    "result",
    "exits",
    "owner",
    "last",
)


def rows(*trades: dict[str, Any]) -> list[dict[str, str]]:
    """Return the cells of the rows that the page makes of trades, as the API encodes them."""
    told = run(_ASK, [json.dumps(trade) for trade in trades])
    return [dict(zip(_COLUMNS, cells, strict=True)) for cells in told]


def shown(**members: Any) -> dict[str, Any]:
    """Return what the page shows of an answer, by the element: its text, its class, and what is in it."""
    answer: dict[str, Any] = {
        "trades": [],
        "unmanaged": [],
        "next_cursor": None,
        "kill_switch": {"level": None, "since": None},
    }
    return dict(run(_SHOW, answer | members))


def run(ask: str, answer: object) -> Any:
    """Run the page's script on an answer."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("the page's script is run by node, which is not installed")
    page = files("dtms.services.api").joinpath("dashboard.html").read_text(encoding="utf-8")
    script = page[page.index("<script>") + 8 : page.index("</script>")]
    program = _DOM + script.replace('"use strict";', "").replace("\nrefresh();\n", "\n") + ask
    ran = subprocess.run([node, "-e", program], input=json.dumps(answer), capture_output=True, text=True, check=True)
    return json.loads(ran.stdout)


def test_prices_and_volumes_have_the_instruments_digits() -> None:
    euro, yen, coin, unknown, average = rows(
        TRADE,
        TRADE | {"digits": 3, "stop_loss": 150.12, "current_price": 150.123},
        TRADE | {"digits": 2, "volume_digits": 3, "volume": 0.001, "stop_loss": 104_000.0},
        TRADE | {"digits": None, "volume_digits": None, "volume": 0.001},
        TRADE | {"stop_loss": 1.016905},
    )

    assert (euro["lots"], euro["stop"], euro["price"], euro["result"]) == ("0.30", "1.01690", "1.01720", "\u22123.50")
    assert (yen["stop"], yen["price"]) == ("150.120", "150.123")
    assert (coin["lots"], coin["stop"]) == ("0.001", "104000.00")
    assert (unknown["lots"], unknown["stop"]) == ("0.001", "1.0169")
    assert average["stop"] == "1.016905"


@pytest.mark.parametrize("ticket", [1, 2**53 - 1, 2**53 + 1, 2**63 - 1])
def test_a_ticket_reaches_the_page_whole(ticket: int) -> None:
    (told,) = rows(TRADE | {"ticket": ticket})

    assert told["ticket"] == str(ticket)
    assert told["last"] == TRADE["last_reason"]


def test_long_fractions_and_exponents_stay_numbers() -> None:
    (told,) = rows(TRADE | {"digits": None, "stop_loss": 0.12345678901234568, "current_price": 1.2345678901234567e-20})

    assert (told["stop"], told["price"]) == ("0.12345678901234568", "1.2345678901234567e-20")


def test_an_uncalibrated_trade_says_so_on_the_page() -> None:
    (told,) = rows(TRADE | {"uncalibrated": True})

    assert told["state"] == "HEALTHY uncalibrated"


STRAY: dict[str, Any] = {
    "ticket": 9_007_199_254_740_993,
    "symbol": "XAUUSD",
    "direction": "SELL",
    "volume": 0.25,
    "stop_loss": None,
    "why": "the ledger has no order for it",
}


def test_a_trade_whose_stop_the_broker_does_not_show_is_not_green() -> None:
    page = shown(trades=[TRADE | {"protection_active": False}, TRADE])

    naked, safe = page["rows"]["within"]
    assert naked["within"][4]["within"][0] == {"text": "HEALTHY", "kind": "state HEALTHY naked", "within": []}
    assert naked["within"][7]["within"][0] == {"text": "NO stop", "kind": "loss", "within": []}
    assert safe["within"][4]["within"][0]["kind"] == "state HEALTHY"
    assert safe["within"][7]["text"] == "1.01690"
    assert (page["naked"]["text"], page["naked"]["kind"]) == ("1", "value loss")


def test_a_position_that_no_trade_manages_is_told_with_whether_it_has_a_stop() -> None:
    page = shown(unmanaged=[STRAY, STRAY | {"ticket": 7, "stop_loss": 2_440.5}])

    banner = page["unmanaged"]
    assert banner["kind"] == "banner kill shown"
    assert "SELL 0.25 XAUUSD, ticket 9007199254740993, NO stop" in banner["text"]
    assert "ticket 7, stop 2440.5" in banner["text"]
    assert banner["text"].endswith("Adopt, release or close each.")
    assert page["count"]["text"] == "0"
    assert (page["naked"]["text"], page["naked"]["kind"]) == ("1", "value loss")


def test_with_nothing_unmanaged_nothing_is_said_of_it() -> None:
    page = shown(trades=[TRADE])

    assert (page["unmanaged"]["text"], page["unmanaged"]["kind"]) == ("", "banner kill")
    assert (page["naked"]["text"], page["naked"]["kind"].strip()) == ("0", "value")
