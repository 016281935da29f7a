"""The three processes as seen from outside: order gateway, DTMS server, main API. Thin: they ask `app` and answer."""
