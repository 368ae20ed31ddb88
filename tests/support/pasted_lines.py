"""Lines that a report suggests, pasted into a built-in search file as a user would paste them."""

import re
import tomllib

from vaetune.config.comparison import flatten
from vaetune.config.search_file import built_in_search, load_search, resolve

HYPERBAND = load_search("hyperband").spec


def paste(folder, lines, algorithm="hyperband"):
    """Pastes lines into a built-in search file, and reads the new file.

    Returns:
        The values of the search that differ from those of the built-in file, by key.
    """
    original = built_in_search(algorithm)
    path = folder / "pasted.toml"
    path.write_text(_paste(original.read_text(encoding="utf-8"), lines), encoding="utf-8")
    before, after = (_flat(resolve(file).spec) for file in (original, path))
    return {key: after.get(key) for key in before | after if before.get(key) != after.get(key)}


def _flat(spec):
    return flatten(spec.model_dump(exclude_none=True))


def _paste(text, lines):
    for table, values in tomllib.loads(lines).items():
        assert f"[{table}]" in lines.splitlines()
        header = re.compile(rf"^\[{table}\].*\n", re.MULTILINE)
        if not header.search(text):
            text += f"\n[{table}]\n"
        end = header.search(text).end()
        above, below = text[:end], text[end:]
        own, *rest = re.split(r"^(?=\[)", below, flags=re.MULTILINE)
        for name in values:
            (line,) = (one for one in lines.splitlines() if one.startswith(f"{name} = "))
            own = re.sub(rf"^{name} = .*\n", "", own, flags=re.MULTILINE) + f"{line}\n"
        text = "".join([above, own, *rest])
    return text
