"""From files to batches of ids: reading, checking, splitting, tokenising; knows no models."""
