"""`dtms drill restart`: real processes that are killed, frozen and cut off, and an oracle outside of them that counts."""
