"""PostgreSQL and Valkey from wheels, run under a folder of our own, for a machine that has neither."""
