"""``python -m pipeline`` is the command ``nodelake``."""

import signal


def main() -> None:
    """Runs the command; until it listens to Ctrl-C, that ends the process without a traceback."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from pipeline.cli import main as command

    command()


if __name__ == "__main__":
    main()
