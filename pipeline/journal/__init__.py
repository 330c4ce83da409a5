"""An append-only log on disk that survives `kill -9`. Knows no value: entries are bytes."""
