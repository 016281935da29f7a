"""The whole system in one process on virtual time: `simulate`, its entries, its checks and its report."""
