"""What seed, tests and pictures agree on."""

PASSWORD = "a quiet meadow"
