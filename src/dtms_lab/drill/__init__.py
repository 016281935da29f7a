"""The fault simulator: the whole system on virtual time, with everything going wrong, and an independent checker."""
