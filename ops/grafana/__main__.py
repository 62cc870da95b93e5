"""Write the dashboards anew: ``make dashboards``."""

from ops.grafana.files import FOLDER, files

for name, text in files().items():
    (FOLDER / name).write_text(text, encoding="utf-8")
