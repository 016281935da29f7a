"""What is written to the ledger: intents, plans, conclusions and what is told of them. No pass, no broker."""
