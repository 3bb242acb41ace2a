"""Cost models and what they see: features of whole populations at once. Read `numbers` first."""
