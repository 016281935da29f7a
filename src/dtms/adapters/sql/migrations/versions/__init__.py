"""One module a schema; `revision` is the schema's number with four digits."""
