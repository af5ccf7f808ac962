"""An assistant for the chat a company already works in. Importing it does nothing."""
