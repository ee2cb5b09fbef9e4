"""`python -m mpinn`: which commands there are."""

from mpinn.system.command_line import Parser, run_command

COMMANDS = {
    "mpinn.train": "train a network; under mpirun -n 8, on 8 ranks",
    "mpinn.launch": "train as a host profile asks",
    "mpinn.hosts": "list, show, detect and apply host profiles, and write hostfiles",
    "mpinn.doctor": "say whether this installation is fit to train",
    "mpinn.verify": "say whether this machine learns the weights that every machine learns; also under mpirun",
    "mpinn.checkpoint": "make a snapshot readable",
    "mpinn.predict": "classify images with the weights of a snapshot",
}


def main(arguments: list[str] | None = None) -> None:
    """Print one line a command."""
    Parser(prog="python -m mpinn", description="List the commands of mpinn.").parse_args(arguments)
    for name, does in COMMANDS.items():
        print(f"python -m {name:16}  {does}")
    print("Each has --help.")


if __name__ == "__main__":
    run_command(main)
