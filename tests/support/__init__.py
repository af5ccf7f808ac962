"""What the tests share: an AWS to talk to, a house to live in, and people who write and read."""
