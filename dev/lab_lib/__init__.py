"""The local lab of Ringvault. `dev/lab --help` says what it does."""
