"""What a call is called in a tree: its name as one says it, after what its parent's path does not tell."""

from __future__ import annotations


def spoken(name: str, path: str, parent: str) -> str:
    """The call's name after its path, as far as the path `parent` of the call around it does not tell it."""
    place, said = relative(path, parent), short(name)
    return f"{place}: {said}" if place not in ("", said) else said


def short(name: str) -> str:
    """The name as one says it: `F.relu`, `torch.cat`, `Tensor.add`, `aten.mm`, and of a module its class."""
    if name.startswith("torch.nn.functional."):
        return "F." + name.rpartition(".")[2]
    if name.startswith("torch.ops."):
        return name.removeprefix("torch.ops.").removesuffix(".default")
    parts = name.split(".")
    of_class = [i for i, part in enumerate(parts) if part[:1].isupper()]
    if of_class:
        return ".".join(parts[of_class[0] :])
    return name if parts[0] == "torch" else parts[-1]


def relative(path: str, parent: str) -> str:
    """What a path adds to that of the call around it."""
    if path == parent:
        return ""
    return path.removeprefix(f"{parent}.") if parent else path
