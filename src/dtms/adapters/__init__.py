"""The vendors' side of the ports: words, codes and shapes of other people's software stop here."""
