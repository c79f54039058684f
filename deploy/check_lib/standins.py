"""Images that a registry would give, or where none is reachable stand-ins of the same names (`deploy/stand-ins`).

A stand-in is made once and kept by the engine; another text of its files makes it anew.
"""

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Callable, Optional

from lab_lib import install_apt, install_go, install_java, java_flags, paths, proc
from lab_lib.errors import LabError
from lab_lib.progress import say, step

from .engine import HOME, Engine

SOURCES = paths.REPOSITORY / "deploy" / "stand-ins"
DEBIAN = "debian:bookworm-slim"
BARE = "gcr.io/distroless/cc-debian12:nonroot"
CASSANDRA = "5.0.4"
LABEL = "ringvault.stand-in"
# Of the stand-ins that are made here, without files: to be raised when they are made otherwise.
_ROUND = "1"

# What Debian's slim image leaves out as well.
_FAT = [
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/log",
]


def ensure(engine: Engine, only: Optional[list[str]] = None) -> list[str]:
    """Makes sure that every image (or those of `only`) is there; returns the names of those that are stand-ins."""
    recipes: dict[str, Callable[[Engine, str], None]] = {
        DEBIAN: _debian,
        BARE: _bare,
        "postgres:16": lambda engine, mark: _build(engine, "postgres:16", mark, {}),
        "rabbitmq:3.13": lambda engine, mark: _build(engine, "rabbitmq:3.13", mark, {}),
        f"cassandra:{CASSANDRA}": _cassandra,
        "versity/versitygw:v1.8.0": _versitygw,
    }
    pulls = True
    made = []
    for name, recipe in recipes.items():
        if only and name not in only:
            continue
        mark = _mark(name)
        known = _stand_in(engine, name)
        if known == mark:
            made.append(name)
        elif known is None and engine.has_image(name):
            continue
        elif pulls and _pull(engine, name):
            continue
        else:
            # One registry that cannot be reached is answer enough for all.
            pulls = False
            with step(f"no registry: a stand-in for {name}"):
                recipe(engine, mark)
            made.append(name)
    # What a newer one took the name of.
    engine.run("image", "prune", "-f", "--filter", f"label={LABEL}")
    return made


def _folder(name: str) -> Path:
    return SOURCES / name.split("/")[-1].split(":")[0]


def _mark(name: str) -> str:
    """Of the files that a stand-in is made from."""
    digest = hashlib.sha256(_ROUND.encode())
    for path in sorted(_folder(name).rglob("*")):
        if path.is_file():
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _stand_in(engine: Engine, name: str):
    """The mark of a stand-in; None for a real image, or none."""
    if not engine.has_image(name):
        return None
    label = f'{{{{index .Config.Labels "{LABEL}"}}}}'
    return engine.run("image", "inspect", "--format", label, name).strip() or None


def _pull(engine: Engine, name: str) -> bool:
    try:
        done = subprocess.run(
            [engine.client, "pull", "-q", name], env=engine.environment, capture_output=True, timeout=600
        )
    except subprocess.TimeoutExpired:
        return False
    if done.returncode:
        say(f"docker pull {name}: {done.stderr.decode(errors='replace').strip().splitlines()[-1][:160]}")
    return done.returncode == 0


def _import(engine: Engine, tree: Path, name: str, mark: str, *changes: str) -> None:
    tar = subprocess.Popen(["tar", "-C", str(tree), "--numeric-owner", "-c", "."], stdout=subprocess.PIPE)
    options = [word for change in (f"LABEL {LABEL}={mark}", *changes) for word in ("--change", change)]
    engine.run("import", *options, "-", name, stdin=tar.stdout)
    if tar.wait():
        raise LabError(f"packing {tree} for {name} failed")


def _tree() -> Path:
    """Debian as debootstrap makes it, once."""
    tree = HOME / "bookworm"
    if tree.exists():
        return tree
    install_apt.ensure([] if shutil.which("debootstrap") else ["debootstrap"])
    partial = HOME / ".bookworm.partial"
    shutil.rmtree(partial, ignore_errors=True)
    command = [
        "debootstrap",
        "--variant=minbase",
        "--include=ca-certificates",
        "bookworm",
        str(partial),
        "http://deb.debian.org/debian",
    ]
    proc.run(command, "making a Debian by debootstrap")
    for name in _FAT:
        for inside in (partial / name).glob("*"):
            shutil.rmtree(inside) if inside.is_dir() and not inside.is_symlink() else inside.unlink()
    partial.rename(tree)
    return tree


def _debian(engine: Engine, mark: str) -> None:
    _import(engine, _tree(), DEBIAN, mark, 'CMD ["bash"]')


def _bare(engine: Engine, mark: str) -> None:
    """Only what a program needs of glibc and OpenSSL's list of authorities: no shell, no package manager."""
    tree = _tree()
    with tempfile.TemporaryDirectory(dir=HOME) as folder:
        bare = Path(folder)
        listed = [tree / f"var/lib/dpkg/info/{name}.list" for name in ("libc6:amd64", "libgcc-s1:amd64", "tzdata")]
        files = [line for path in listed if path.exists() for line in path.read_text().splitlines()]
        wanted = [
            line
            for line in files
            if "/share/doc" not in line and "/gconv" not in line and (tree / line.lstrip("/")).is_file()
        ]
        # Libraries lie where Debian says, also where /lib is a link to /usr/lib.
        for line in wanted:
            target = bare / line.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(tree / line.lstrip("/"), target, follow_symlinks=False)
        (bare / "etc/ssl/certs").mkdir(parents=True)
        shutil.copy2(tree / "etc/ssl/certs/ca-certificates.crt", bare / "etc/ssl/certs/ca-certificates.crt")
        (bare / "etc/passwd").write_text(
            "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"
        )
        (bare / "etc/group").write_text("root:x:0:\nnonroot:x:65532:\n")
        (bare / "etc/nsswitch.conf").write_text("hosts: files dns\n")
        (bare / "tmp").mkdir(mode=0o1777)
        bare.chmod(0o755)
        _import(engine, bare, BARE, mark, "USER 65532", "ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt")


def _cassandra(engine: Engine, mark: str) -> None:
    install_apt.ensure([] if shutil.which("mvn") else ["maven"])
    install_java.ensure(CASSANDRA)
    _build(
        engine,
        f"cassandra:{CASSANDRA}",
        mark,
        {"lib": install_java.library(CASSANDRA)},
        {"jvm.options": _module_options()},
    )


def _module_options() -> str:
    flags = java_flags.modules()
    return "\n".join(f"{flag}={value}" for flag, value in zip(flags[::2], flags[1::2])) + "\n"


def _versitygw(engine: Engine, mark: str) -> None:
    if install_go.needs_go("versitygw"):
        install_apt.ensure(["golang-go"])
    _build(engine, "versity/versitygw:v1.8.0", mark, {"versitygw": install_go.ensure("versitygw")})


def _build(
    engine: Engine, name: str, mark: str, links: dict[str, Path], texts: Optional[dict[str, str]] = None
) -> None:
    """Builds a folder of `deploy/stand-ins`, with copies of `links` (file or folder) and `texts` beside its files."""
    with tempfile.TemporaryDirectory(dir=HOME) as folder:
        context = Path(folder) / "context"
        shutil.copytree(_folder(name), context)
        for what, source in links.items():
            proc.run(["cp", "-aL", "--reflink=auto", str(source), str(context / what)], f"copying {source}")
        for what, text in (texts or {}).items():
            (context / what).write_text(text)
        # In the engine's own network a name server of the machine's loopback would not be found.
        engine.run(
            "build", "--network=host", "--label", f"{LABEL}={mark}", "-t", name, str(context), what=f"building {name}"
        )
