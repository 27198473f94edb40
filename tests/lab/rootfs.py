"""The smallest image: busybox of this machine."""

import io
import shutil
import subprocess
import tarfile

APPLETS = ("sh", "sleep", "cat", "touch", "false", "httpd", "env")


def rootfs(mark: str) -> bytes:
    """A root file system with busybox and its libraries, as a tar."""
    busybox = shutil.which("busybox")
    assert busybox, "busybox is one of the lab's packages"
    linked = subprocess.run(["ldd", busybox], capture_output=True, text=True, check=False).stdout.split()
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", dereference=True) as tar:
        tar.add(busybox, "bin/busybox")
        for library in (word for word in linked if word.startswith("/")):
            tar.add(library, library.lstrip("/"))
        for name in APPLETS:
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        info = tarfile.TarInfo("mark")
        info.size = len(mark)
        tar.addfile(info, io.BytesIO(mark.encode()))
    return data.getvalue()
