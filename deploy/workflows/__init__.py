"""The programs of .github/workflows: what would be shell in YAML, in the standard library and tested."""
