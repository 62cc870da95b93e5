"""Bytes to blocks, by media type."""
