"""Charts as SVG text, made in Python: no dependency, no script, readable without sight."""
