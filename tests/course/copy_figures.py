"""`python -m tests.course.copy_figures`: put the figures that the course's commands drew here beside its documents."""

import shutil

from tests.course import exercises


def main() -> None:
    for path in exercises.paths():
        for figure in exercises.read(path).figures:
            figure.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(exercises.made(figure), figure)


if __name__ == "__main__":
    main()
