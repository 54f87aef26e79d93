"""The keys of those who sign updates: python -m systemd.image.keys --out build/keys

| file | what | where it belongs |
|---|---|---|
| root.key, root-2.key | sign signers; the second in case the first is lost | off line, in two places |
| signer.key, signer.pem | sign bundles, for one year | with the one who builds |
| keyring.pem | the certificates of both roots | in every image, from the first one on |

What is there is never overwritten: a root that is lost cannot be made again, and a box takes nothing that another one signed.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import cyclopts

from engines.commands.terminal import say_line
from systemd.image.commands import ImageError, run

ROOTS = ("root", "root-2")
KEYRING = "keyring.pem"
ROOT_DAYS, SIGNER_DAYS = 7305, 365

_ROOT = """[req]
distinguished_name=name
x509_extensions=root
prompt=no
[name]
CN={name}
[root]
basicConstraints=critical,CA:TRUE,pathlen:0
keyUsage=critical,keyCertSign,cRLSign
subjectKeyIdentifier=hash
"""
_SIGNER = """basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=emailProtection
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
"""


def make_keys(out: Path, signer: str = "signer", signer_days: int = SIGNER_DAYS) -> list[Path]:
    """Make what is not there yet, files of mode 0600 in a folder of 0700; what was made.

    signer: name of the signer's files; another name makes another one, such as next year's. Raises ImageError: half a pair is there,
    or the roots are not (a signer cannot be made without their key).
    """
    if not signer.replace("-", "").isalnum() or signer in ROOTS:
        raise ImageError(f"--signer {signer}: a name of letters, digits and hyphens, which is none of {', '.join(ROOTS)}")
    out.mkdir(parents=True, exist_ok=True, mode=0o700)
    made: list[Path] = []
    ring = out / KEYRING
    if not ring.exists():
        for name in ROOTS:
            if _absent(out, name):
                made += _pair(out, name, lambda key, cert, name=name: _make_root(key, cert, name))  # type: ignore[misc]
        _place(ring, "".join((out / f"{name}.pem").read_text(encoding="ascii") for name in ROOTS))
        made.append(ring)
    if _absent(out, signer):
        root = out / "root.key"
        if not root.is_file():
            raise ImageError(
                f"{root}: absent; bring the root's key from where it is kept, to sign {signer}.pem, and take it away again"
            )
        made += _pair(out, signer, lambda key, cert: _make_signer(key, cert, out / "root", signer, signer_days))
    return made


def _absent(out: Path, name: str) -> bool:
    """Whether the pair must be made. Raises ImageError where half of it is there."""
    key, cert = ((out / f"{name}.{end}").exists() for end in ("key", "pem"))
    if key and not cert:
        raise ImageError(f"{out / name}.key: its certificate {name}.pem is absent; bring it back, or remove the key")
    return not cert


def _pair(out: Path, name: str, make: Callable[[Path, Path], None]) -> list[Path]:
    """Both files or neither: made beside, named last."""
    with tempfile.TemporaryDirectory(dir=out, prefix=".new-") as folder:
        fresh = [Path(folder, f"{name}.{end}") for end in ("key", "pem")]
        make(*fresh)
        for each in fresh:
            each.chmod(0o600)
            os.link(each, out / each.name)  # a link never takes the place of a file
    return [out / each.name for each in fresh]


def _place(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(text)


def _new_key(path: Path) -> None:
    _place(path, run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"))


def _make_root(key: Path, cert: Path, name: str) -> None:
    _new_key(key)
    config = key.with_suffix(".cnf")
    config.write_text(_ROOT.format(name=f"Leukoscope updates {name}"), encoding="ascii")
    run("openssl", "req", "-x509", "-new", "-sha256", "-key", key, "-config", config, "-days", str(ROOT_DAYS), "-out", cert)


def _make_signer(key: Path, cert: Path, root: Path, name: str, days: int) -> None:
    _new_key(key)
    extensions = key.with_suffix(".ext")
    extensions.write_text(_SIGNER, encoding="ascii")
    request = run("openssl", "req", "-new", "-sha256", "-key", key, "-subj", f"/CN=Leukoscope updates {name}")
    serial = f"0x{os.urandom(16).hex()}"
    authority = ("-CA", f"{root}.pem", "-CAkey", f"{root}.key", "-set_serial", serial)
    run("openssl", "x509", "-req", "-sha256", *authority, "-days", str(days), "-extfile", extensions, "-out", cert, text=request)


def main(*, out: Path = Path("build/keys"), signer: str = "signer") -> int:
    """Make the keys of those who sign updates, where they are not there yet.

    Args:
        out: Folder of the keys, never committed.
        signer: Name of the signer's files; next year's gets another one.
    """
    try:
        made = make_keys(out, signer)
    except ImageError as error:
        say_line(str(error))
        return error.exit_code
    for path in made:
        say_line(f"{path}: made")
    if not made:
        say_line(f"{out}: all keys are there already; none was changed")
    elif any(path.name == "root.key" for path in made):
        say_line(f"Now take {out}/root.key and root-2.key off this machine, to two places: who has one can sign updates for every box.")
    return 0


if __name__ == "__main__":
    sys.exit(cyclopts.run(main))
