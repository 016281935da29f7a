"""The order gateway's pass: claim, check, send, conclude; and the limits, hours and order in which it does."""
