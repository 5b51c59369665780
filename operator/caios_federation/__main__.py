"""The program: `caios-federation`, `kubectl caios` and `python -m caios_federation`."""

import gc


def main() -> None:
    """Run the command line.

    Imports are a good part of what a verb takes, and nothing that they make is garbage.
    """
    gc.disable()
    try:
        from caios_federation.cli.main import main as command_line  # noqa: PLC0415
    finally:
        gc.enable()
    command_line()


if __name__ == "__main__":
    main()
