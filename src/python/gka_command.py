"""gka_command.py - the console script `gka`: the program inside the package, without importing the package."""
import os
import sys


def main() -> None:
    """Becomes the program of the wheel, arguments and exit code included."""
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "gka", "bin", "gka")
    os.execv(program, [program, *sys.argv[1:]])


if __name__ == "__main__":
    main()
