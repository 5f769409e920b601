"""What is wrong with settings."""


class ConfigError(Exception):
    """The settings are wrong or not enough (exit 2). The message never holds a secret."""
