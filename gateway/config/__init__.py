"""From YAML to frozen dataclasses, once, at the border."""
