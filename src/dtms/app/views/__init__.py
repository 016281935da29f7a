"""What a decision or a person is shown: cached trades, snapshots, answers, explanations."""
