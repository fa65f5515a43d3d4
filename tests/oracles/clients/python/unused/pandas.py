"""In the place of pandas, which the client imports and does not use for what is asked of it."""
