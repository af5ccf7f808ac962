"""The real engine, vLLM, served by our entry point on this machine's processor with a model of no use but for testing."""
