"""Model language by GPT-2's architecture, on TinyStories, OpenWebText, or any text."""
