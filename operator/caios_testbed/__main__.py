"""`caios-testbed`: a real cluster, a stand-in for CoreWeave, and the demo that joins them."""

from __future__ import annotations

import click


class Lazy(click.Group):
    """A group whose commands are imported when they are asked for: `--help` stays fast."""

    commands_at = {  # noqa: RUF012  # a constant of the class
        "cluster": "caios_testbed.cluster.cli:cluster",
        "image": "caios_testbed.cluster.cli:image",
        "coreweave": "caios_testbed.coreweave.cli:coreweave",
        "demo": "caios_testbed.demo.cli:demo",
    }

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Name the groups in the order in which a person meets them."""
        return list(self.commands_at)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the group called `cmd_name`."""
        from importlib import import_module  # noqa: PLC0415  # lazy on purpose

        if cmd_name not in self.commands_at:
            return None
        module, _, attribute = self.commands_at[cmd_name].partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)  # noqa: S101  # the table above is ours
        return command


@click.group(cls=Lazy)
@click.version_option(package_name="caios-federation-operator")
def main() -> None:
    """Try the CAIOS federation operator without a CoreWeave account."""


if __name__ == "__main__":
    main()
