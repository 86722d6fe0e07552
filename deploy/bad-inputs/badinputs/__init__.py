"""Bad inputs as data, and the one runner that works through them."""
