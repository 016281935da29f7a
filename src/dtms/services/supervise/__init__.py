"""`dtms up`: the product's processes, supervised."""
