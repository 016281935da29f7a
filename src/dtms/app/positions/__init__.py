"""What the broker's facts make of a trade: changes by hand, legs, dropped targets, other positions."""
