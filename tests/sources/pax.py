"""Writes a PAX archive of a directory with everything a record can say: pax.py DIRECTORY ARCHIVE."""

import os
import sys
import tarfile

root, out = (os.fsencode(arg) for arg in sys.argv[1:])


def records(path):
    """Times to the nanosecond, and extended attributes as GNU tar names them."""
    st = os.lstat(path)
    found = {}
    for key, nanos in (("mtime", st.st_mtime_ns), ("atime", st.st_atime_ns), ("ctime", st.st_ctime_ns)):
        sign, nanos = ("-", -nanos) if nanos < 0 else ("", nanos)
        found[key] = "%s%d.%09d" % (sign, nanos // 10**9, nanos % 10**9)
    for name in os.listxattr(path, follow_symlinks=False):
        value = os.getxattr(path, name, follow_symlinks=False)
        found["SCHILY.xattr." + name] = value.decode("utf-8", "surrogateescape")
    return found


with tarfile.open(os.fsdecode(out), "w", format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape") as tar:
    paths = [root]
    first = {}
    while paths:
        path = paths.pop()
        inside = os.fsdecode(os.path.relpath(path, root))
        info = tar.gettarinfo(os.fsdecode(path), inside)
        if info is None:
            continue
        # tarfile sees the second names of files only.
        st = os.lstat(path)
        if not info.isdir() and (st.st_dev, st.st_ino) in first:
            info.type, info.linkname, info.size = tarfile.LNKTYPE, first[st.st_dev, st.st_ino], 0
        first.setdefault((st.st_dev, st.st_ino), inside)
        info.pax_headers = records(path)
        if info.isreg():
            with open(path, "rb", opener=lambda p, f: os.open(p, f | os.O_NOATIME)) as content:
                tar.addfile(info, content)
        else:
            tar.addfile(info)
        if info.isdir():
            paths.extend(sorted((os.path.join(path, name) for name in os.listdir(path)), reverse=True))
