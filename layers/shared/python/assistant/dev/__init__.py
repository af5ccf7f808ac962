"""The command line, the local runner and the emulator of AWS that it runs on. Not part of the Lambda layer."""
