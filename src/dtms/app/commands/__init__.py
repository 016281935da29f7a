"""What a person or another program asks for: registration, opening, letting go, and the outbox that delivers it."""
