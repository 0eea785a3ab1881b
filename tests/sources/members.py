"""Writes an archive of the members that standard input lists as JSON: members.py FORMAT ARCHIVE."""

import io
import json
import sys
import tarfile

TYPES = {
    "file": tarfile.REGTYPE,
    "dir": tarfile.DIRTYPE,
    "symlink": tarfile.SYMTYPE,
    "link": tarfile.LNKTYPE,
    "char": tarfile.CHRTYPE,
    "fifo": tarfile.FIFOTYPE,
}
FORMATS = {"pax": tarfile.PAX_FORMAT, "gnu": tarfile.GNU_FORMAT, "ustar": tarfile.USTAR_FORMAT}

form, out = sys.argv[1:]
with tarfile.open(out, "w", format=FORMATS[form], encoding="utf-8", errors="surrogateescape") as tar:
    for member in json.load(sys.stdin):
        info = tarfile.TarInfo(member["path"])
        info.type = TYPES[member["type"]]
        info.linkname = member.get("target", "")
        info.mode = member["mode"]
        info.uid, info.gid = member["owner"]
        info.mtime = member["time"]
        info.devmajor, info.devminor = member.get("device", (0, 0))
        info.pax_headers = member.get("records", {})
        content = member.get("content", "").encode()
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
