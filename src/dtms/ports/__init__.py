"""Small protocols in our own words; adapters fulfil them, app asks them. A port raises when it does not know."""
