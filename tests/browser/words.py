"""What seed, tests and pictures agree on."""

PASSWORD = "a quiet meadow"
SWITCH_TOKEN = "switch-token-of-the-browser-tests"
