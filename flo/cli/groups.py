"""Groups of commands: loaded when wanted, with help instead of an error when nothing was asked."""

import difflib
from collections.abc import Callable, Mapping

import click

from flo.cli import output
from flo.cli.settings import Settings


class Group(click.Group):
    """A group that prints its help when it stands alone, and knows what a typing error meant."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help())
            ctx.exit()
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        wrong = not name.startswith("-") and self.get_command(ctx, name) is None
        if wrong and not ctx.resilient_parsing:
            near = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
            meant = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No such command {name!r}.{meant}")
        return super().resolve_command(ctx, args)


class TopGroup(Group):
    """The program: imports a command when it is used, and prints wrong usage as JSON if asked."""

    loaders: Mapping[str, Callable[[], click.Command]]
    """By name. Set once, where the program is put together."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self.loaders)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        load = self.loaders.get(cmd_name)
        return None if load is None else load()

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            told = _told_about_dashes(error)
            settings = ctx.find_object(Settings)
            if settings is None or settings.output_format != "json":
                raise told from None
            output.print_error_fields("WRONG_USAGE", told.format_message())
            ctx.exit(output.EXIT_USAGE)


def _told_about_dashes(error: click.UsageError) -> click.UsageError:
    """A negative number that was taken for an option: what to write instead."""
    if not isinstance(error, click.NoSuchOption) or not error.option_name[1:2].isdigit():
        return error
    advice = "A value that begins with a dash goes after two: flo kv set -- KEY -5"
    return click.NoSuchOption(error.option_name, f"{error.message} {advice}", ctx=error.ctx)
