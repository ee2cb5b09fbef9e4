"""Numbers as people read them."""


def counted(number: int, thing: str) -> str:
    """Return '1 rank', '2 ranks', '1,000 ranks'."""
    return f"{number:,} {thing}" + ("" if number == 1 else "s")
