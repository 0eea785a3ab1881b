//! Extended attributes, ACLs, security contexts, capabilities and file flags, against what the host's kernel has.

mod tar_common;

use daxkit_build::source::{AclIds, MemberKind, NumericIds, TarError, TarInput};
use daxkit_format::ext4::inode_flags::InodeFlags;
use std::fs;
use std::path::{Path, PathBuf};
use tar_common::*;

/// A directory on the file system of the build, which has attributes and flags where /tmp may not.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory")
}

/// The users and groups of this host.
struct HostIds;

fn look_up(file: &str, name: &[u8]) -> Option<u32> {
    let text = fs::read_to_string(file).expect("the host has users");
    text.lines().find_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        (fields.first()?.as_bytes() == name).then(|| fields.get(2)?.parse().ok())?
    })
}

impl AclIds for HostIds {
    fn user(&self, name: &[u8]) -> Option<u32> {
        look_up("/etc/passwd", name)
    }

    fn group(&self, name: &[u8]) -> Option<u32> {
        look_up("/etc/group", name)
    }
}

fn fill(root: &Path) {
    must_be_root();
    fs::create_dir(root.join("dir")).expect("a directory");
    for name in ["file", "none", "caps", "small-acl", "masked"] {
        fs::write(root.join("dir").join(name), name).expect("a file");
    }
    let set = |path: &str, name: &str, value: &[u8]| {
        rustix::fs::lsetxattr(root.join(path), name, value, rustix::fs::XattrFlags::empty())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    };
    set("dir/file", "user.binary", b"\0\n12 path=x\n\xff=");
    set("dir/file", "user.empty", b"");
    set("dir/file", "user.percent%41=\u{e9} blank", b"1");
    set("dir/file", "user.large", &noise(3000, 7));
    set("dir/file", "trusted.t", b"t");
    set("dir/file", "security.selinux", b"system_u:object_r:etc_t:s0\0");
    set("dir", "user.of-dir", b"d");
    std::os::unix::fs::symlink("file", root.join("dir/link")).expect("a link");
    set("dir/link", "trusted.link", b"l");
    let words = |command: &str| run_words(command, &root.join("dir"));
    words("setcap cap_net_raw,cap_chown+ep caps");
    words("chmod 640 small-acl");
    words("setfacl -m u:daemon:rwx,u:12345:r--,g:bin:r-x,g:777:---,m::r-x masked");
    words("setfacl -m u:0:r--,g:2147483647:rw- file");
    words("setfacl -m u:daemon:rwx -m d:u:daemon:rwx,d:g:777:r-x,d:o::- .");
}

/// Archives, reads and compares attributes, of which those count that `wanted` says.
fn check(command: &str, root: &Path, ids: impl AclIds + 'static, wanted: fn(&[u8]) -> bool) {
    let out = root.with_file_name("archive");
    let _ = fs::remove_file(&out);
    let tree = snapshot(root);
    run_words(&command.replace("{out}", out.to_str().expect("UTF-8")), root);
    let contents = read_all(TarInput::Path(&out), options_with(ids)).unwrap_or_else(|e| panic!("{command}: {e}"));
    assert_eq!(contents.notices, [], "{command}");
    compare(command, &contents, &tree, Times::All);
    for (path, disk) in &tree {
        let path = std::str::from_utf8(path).expect("UTF-8");
        let found = &contents.get(path).xattrs.list;
        let expected: Vec<_> = disk.xattrs.iter().filter(|(name, _)| wanted(name)).cloned().collect();
        assert_eq!(shown(found), shown(&expected), "{command}: {path}");
    }
}

/// Attributes as a failed test should show them.
fn shown(list: &[(Vec<u8>, Vec<u8>)]) -> Vec<String> {
    let short = |value: &[u8]| match value.len() {
        0..=200 => value.escape_ascii().to_string(),
        len => {
            format!("{len} bytes, {:?}", value.iter().map(|b| u64::from(*b)).fold(7u64, |sum, b| sum * 31 % 65_521 + b))
        }
    };
    list.iter().map(|(name, value)| format!("{}={}", name.escape_ascii(), short(value))).collect()
}

fn is_acl(name: &[u8]) -> bool {
    name.starts_with(b"system.posix_acl_")
}

#[test]
fn attributes_come_over_as_the_kernel_has_them() {
    let scratch = scratch();
    let root = tree(scratch.path(), &[fill]);
    check("tar --format=posix --xattrs --xattrs-include=* -cf {out} .", &root, NumericIds, |_| true);
    check("tar --format=posix --xattrs --acls --selinux -cf {out} .", &root, NumericIds, |_| true);
    check("tar --format=posix --acls -cf {out} .", &root, HostIds, is_acl);
    check("tar --format=posix --acls --numeric-owner -cf {out} .", &root, HostIds, is_acl);
    check("tar --format=posix --selinux -cf {out} .", &root, HostIds, |name| name == b"security.selinux");
    check("bsdtar --format=pax --no-fflags --acls --xattrs -cf {out} .", &root, NumericIds, |_| true);
    check("bsdtar --format=pax --no-fflags --acls --no-xattrs --numeric-owner -cf {out} .", &root, NumericIds, is_acl);
    check(
        "bsdtar --format=pax --no-fflags --options=xattrheader=LIBARCHIVE --no-acls --xattrs -cf {out} .",
        &root,
        NumericIds,
        |name| !is_acl(name),
    );
}

#[test]
fn attributes_are_left_where_they_are_not_wanted() {
    let scratch = scratch();
    let root = tree(scratch.path(), &[fill]);
    run_words("tar --format=posix --xattrs --acls --selinux -cf ../archive .", &root);
    let options = daxkit_build::source::TarOptions { read_xattrs: false, ..options() };
    let contents = read_all(TarInput::Path(&scratch.path().join("archive")), options).expect("an archive");
    assert!(contents.members.iter().all(|member| member.xattrs.list.is_empty()));
    assert_eq!(contents.notices, []);
}

#[test]
fn names_nobody_knows_are_an_error() {
    let scratch = scratch();
    let root = tree(scratch.path(), &[fill]);
    run_words("tar --format=posix --acls -cf ../archive dir/masked", &root);
    let error = read_all(TarInput::Path(&scratch.path().join("archive")), options()).expect_err("nobody knows daemon");
    assert_eq!(error.to_string(), r#""dir/masked": the access ACL: no number is known for the user "daemon""#);
}

/// Takes flags away again, without which the files could not be removed.
struct Flagged(PathBuf);

impl Drop for Flagged {
    fn drop(&mut self) {
        run_words("chattr -R -i -a .", &self.0);
    }
}

#[test]
fn file_flags_come_over_as_the_kernel_has_them() {
    let scratch = scratch();
    let root = tree(scratch.path(), &[|_| must_be_root()]);
    let flagged = Flagged(root.clone());
    for (name, flags) in [("a", "dA"), ("b", "i"), ("c", "a"), ("d", "S"), ("f", "sud"), ("none", "")] {
        fs::write(root.join(name), name).expect("a file");
        if !flags.is_empty() {
            run_words(&format!("chattr +{flags} {name}"), &root);
        }
    }
    for (name, flags) in [("dir", "DTd"), ("project", "P"), ("all", "SAd")] {
        fs::create_dir(root.join(name)).expect("a directory");
        run_words(&format!("chattr +{flags} {name}"), &root);
    }
    run_words("bsdtar --format=pax --fflags -cf ../archive .", &root);
    let contents = read_path(&scratch.path().join("archive"));
    assert_eq!(contents.notices, []);
    let set = InodeFlags::from_bits_retain(!0) - InodeFlags::EXTENTS - InodeFlags::INDEX - InodeFlags::INLINE_DATA;
    let mut seen = InodeFlags::empty();
    for path in snapshot(&root).into_keys() {
        let path = std::str::from_utf8(&path).expect("UTF-8");
        let file = fs::File::open(root.join(path)).expect("it opens");
        let on_disk = InodeFlags::from_bits_retain(rustix::fs::ioctl_getflags(&file).expect("flags").bits());
        assert_eq!(contents.get(path).flags, on_disk & set, "{path}");
        seen |= on_disk & set;
    }
    // `j` wants a capability that root does not have everywhere; `c` and `t` are refused by ext4.
    let expected = "suSDiadA-------T-----P--";
    assert_eq!(seen.lsattr(), expected, "every one of them was tried");
    drop(flagged);
}

/// A member named `m` with these records, as Python writes them.
fn with_records(records: &str, fields: &str, dir: &Path) -> PathBuf {
    python(
        &format!(
            "import tarfile
i = tarfile.TarInfo('m')
{fields}
r = {records}
body = b''
for k, v in r:
    rest = len(k) + len(v) + 3; n = rest
    while n != rest + len(str(n)): n = rest + len(str(n))
    body += str(n).encode() + b' ' + k + b'=' + v + b'\\n'
x = tarfile.TarInfo('x'); x.type = b'x'; x.size = len(body)
f = open('m.tar', 'wb')
f.write(x.tobuf(tarfile.USTAR_FORMAT) + body + bytes(-len(body) % 512) + i.tobuf(tarfile.USTAR_FORMAT) + bytes(1024))
f.close()"
        ),
        dir,
    );
    dir.join("m.tar")
}

#[test]
fn what_has_no_place_is_told_in_one_line_each() {
    let scratch = scratch();
    let path = with_records(
        r"[(b'SCHILY.xattr.system.nfs4_acl', b'1'), (b'SCHILY.xattr.user.' + b'n' * 251, b'1'),
           (b'SCHILY.xattr.user.big', bytes(65537)), (b'SCHILY.acl.ace', b'everyone@:r:allow'),
           (b'SCHILY.acl.default', b'user::rwx,group::rx,other::x'), (b'SCHILY.fflags', b'uarch,topdir,nodump'),
           (b'ACME.\n', b'1'), (b'SCHILY.xattr.user.ok', b'1'), (b'LIBARCHIVE.creationtime', b'5.5')]",
        "",
        scratch.path(),
    );
    let contents = read_path(&path);
    let member = contents.get("m");
    assert_eq!(member.xattrs.list, [(b"user.ok".to_vec(), b"1".to_vec())]);
    assert_eq!(member.flags, InodeFlags::NODUMP);
    assert_eq!(member.created.map(|t| (t.seconds, t.nanos)), Some((5, 500_000_000)));
    let told: Vec<String> = contents.notices.iter().map(ToString::to_string).collect();
    let long = "n".repeat(251);
    assert_eq!(
        told,
        [
            r#"left out attribute "system.nfs4_acl" of "m": ext4 has no place for its namespace"#.to_owned(),
            format!(r#"left out attribute "user.{long}" of "m": ext4 has no place for its namespace"#),
            r#"left out attribute "user.big" of "m": its value has 65537 bytes, Linux allows 65536"#.into(),
            r#"left out the NFSv4 ACL of "m""#.into(),
            r#"ignored records "ACME.\x0a", which are not known (first of "m")"#.into(),
            r#"left out flag "uarch" of "m": ext4 has no such flag for it"#.into(),
            r#"left out flag "topdir" of "m": ext4 has no such flag for it"#.into(),
            r#"left out the default ACL of "m""#.into(),
        ]
    );
}

#[test]
fn acls_decide_over_the_permission_bits() {
    let scratch = scratch();
    for (records, mode, kept) in [
        ("(b'SCHILY.acl.access', b'user::rwx,group::r-x,other::--x')", 0o4751, 0),
        ("(b'SCHILY.acl.access', b'user::rw-,group::r-x,other::r--,user:daemon:rwx:1,mask::rw-')", 0o4664, 1),
        ("(b'SCHILY.acl.access', b'')", 0o4600, 0),
    ] {
        let path = with_records(&format!("[{records}]"), "i.mode = 0o4600", scratch.path());
        let contents = read_path(&path);
        assert_eq!(contents.get("m").attributes.mode, mode, "{records}");
        assert_eq!(contents.get("m").xattrs.list.len(), kept, "{records}");
    }
    let path = with_records(
        "[(b'SCHILY.acl.access', b'user::rwx,group::-,other::-')]",
        "i.type = tarfile.SYMTYPE",
        scratch.path(),
    );
    let contents = read_path(&path);
    assert_eq!(contents.get("m").kind, MemberKind::Symlink(Vec::new()));
    assert_eq!(contents.notices[0].to_string(), r#"left out the ACL of "m""#);
    let path = with_records(r"[(b'SCHILY.xattr.system.posix_acl_access', b'\2\0\0\0')]", "", scratch.path());
    let error = read_all(TarInput::Path(&path), options()).expect_err("an ACL without entries");
    assert!(matches!(error, TarError::Acl { which: "access", .. }), "{error}");
    assert_eq!(error.to_string(), r#""m": the access ACL: ACL has no entry with tag 0x1"#);
}

#[test]
fn later_records_win_and_names_come_once() {
    let scratch = scratch();
    let path = with_records(
        "[(b'SCHILY.xattr.user.b', b'1'), (b'SCHILY.xattr.user.a', b'2'), (b'SCHILY.xattr.user.b', b'3'),
          (b'RHT.security.selinux', b'u:r:t:s0'), (b'SCHILY.devmajor', b'7'), (b'SUN.devminor', b'1048575'),
          (b'path', b'wrong'), (b'path', b'm'), (b'uid', b'1'), (b'uid', b'')]",
        "i.type = tarfile.BLKTYPE; i.devmajor = 1; i.devminor = 2; i.uid = 9",
        scratch.path(),
    );
    let contents = read_path(&path);
    let member = contents.get("m");
    let pair = |name: &str, value: &[u8]| (name.as_bytes().to_vec(), value.to_vec());
    assert_eq!(
        member.xattrs.list,
        [pair("security.selinux", b"u:r:t:s0\0"), pair("user.a", b"2"), pair("user.b", b"3")]
    );
    assert_eq!(member.kind, MemberKind::Block(7, 1_048_575));
    assert_eq!(member.attributes.uid, 9, "an empty value takes back what was said");
}
