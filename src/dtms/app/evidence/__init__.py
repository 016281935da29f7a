"""What proves that an order was carried out or a position has ended: the broker's records, never silence."""
