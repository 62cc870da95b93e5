"""Grafana's dashboards as code. ``python -m ops.grafana`` writes ``dashboards/`` anew.

For development: nothing that runs imports it, and the library it needs is not installed with Headwater.
"""
