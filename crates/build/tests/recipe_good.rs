//! Recipes that are taken, and what they come to.

use daxkit_build::recipe::{
    At, Attrs, Checksum, Content, DefectChange, DirEntries, DirItem, E2fsckVerdict, Expect, FileItem,
    FileSystemOptions, Item, ItemKind, Pattern, Piece, Recipe, parse,
};
use daxkit_build::source::{Kind, Mapping, PlacedExtent, Placement};
use daxkit_format::ext4::inode::Timestamp;
use daxkit_format::ext4::inode_flags::InodeFlags;
use std::path::{Path, PathBuf};
use std::process::Command;

fn recipe(text: &str) -> Recipe {
    parse(text, Path::new("/r")).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

/// The only item of a recipe.
fn item(text: &str) -> Item {
    let mut items = recipe(text).items;
    assert_eq!(items.len(), 1, "{text}");
    items.remove(0)
}

fn file(keys: &str) -> FileItem {
    match item(&format!("[[file]]\npath = \"/a\"\n{keys}")).kind {
        ItemKind::File(file) => file,
        other => panic!("{other:?}"),
    }
}

fn attrs(keys: &str) -> Attrs {
    item(&format!("[[dir]]\npath = \"/a\"\n{keys}")).attrs
}

fn filesystem(keys: &str) -> FileSystemOptions {
    recipe(&format!("[filesystem]\n{keys}")).filesystem
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

const K: u64 = 1 << 10;
const M: u64 = 1 << 20;

#[test]
fn an_empty_recipe_is_one() {
    for text in ["", "\n# nothing\n", "version = 1", "[filesystem]\n[expect]\n", "file = []\nrule = []\nsource = []"] {
        let r = recipe(text);
        assert_eq!((r.filesystem, r.expect), Default::default(), "{text}");
        assert!(r.sources.is_empty() && r.items.is_empty() && r.rules.is_empty() && r.defects.is_empty(), "{text}");
    }
}

#[test]
fn sources_are_joined_with_the_directory() {
    let at = |line, column| At { line, column };
    assert_eq!(
        recipe("source = [\n  \"tree\",\n  \"/abs.tar\"]").sources,
        [(at(2, 3), PathBuf::from("/r/tree")), (at(3, 3), PathBuf::from("/abs.tar"))]
    );
    assert_eq!(recipe("source = '../x'").sources, [(at(1, 10), PathBuf::from("/r/../x"))]);
}

#[test]
fn options_are_what_the_command_line_would_hold() {
    let default = FileSystemOptions::default;
    for (keys, expected) in [
        ("size = 64", FileSystemOptions { size: Some("64".into()), ..default() }),
        ("size = '64M'", FileSystemOptions { size: Some("64M".into()), ..default() }),
        ("block_size = -1024", FileSystemOptions { block_size: Some("-1024".into()), ..default() }),
        ("inode_size = 0o400", FileSystemOptions { inode_size: Some("256".into()), ..default() }),
        ("reserved_percent = 2.5", FileSystemOptions { reserved_percent: Some("2.5".into()), ..default() }),
        ("reserved_percent = 5", FileSystemOptions { reserved_percent: Some("5".into()), ..default() }),
        ("features = 'a,^b'", FileSystemOptions { features: texts(&["a,^b"]), ..default() }),
        ("features = ['a', '^b']", FileSystemOptions { features: texts(&["a", "^b"]), ..default() }),
        (
            "extended = 'stride=4,nodiscard'",
            FileSystemOptions { extended: texts(&["stride=4,nodiscard"]), ..default() },
        ),
        ("extended = ['stride=4']", FileSystemOptions { extended: texts(&["stride=4"]), ..default() }),
        (
            // In the order of the text, not of the alphabet.
            "extended = { stride = 0x10, nodiscard = true, hash_seed = 'x y' }",
            FileSystemOptions { extended: texts(&["stride=16", "nodiscard", "hash_seed=x y"]), ..default() },
        ),
        ("[filesystem.journal]\nsize = 4", FileSystemOptions { journal: texts(&["size=4"]), ..default() }),
        ("dax = '/a'", FileSystemOptions { dax_paths: texts(&["/a"]), ..default() }),
        ("dax = ['/a', '/b']", FileSystemOptions { dax_paths: texts(&["/a", "/b"]), ..default() }),
        ("owner = '0:4294967295'", FileSystemOptions { owner: Some((0, u32::MAX)), ..default() }),
        ("exclude = '*.o'", FileSystemOptions { exclude: texts(&["*.o"]), ..default() }),
        ("time = 0", FileSystemOptions { time: Some(Timestamp::default()), ..default() }),
        ("reproducible = false", FileSystemOptions { reproducible: Some(false), ..default() }),
    ] {
        assert_eq!(filesystem(keys), expected, "{keys}");
    }
}

#[test]
fn items_are_in_the_order_of_the_text() {
    let r = recipe(
        "[[file]]\npath = '/f1'\n[[dir]]\npath = '/d1'\n[[link]]\npath = '/l'\ntarget = '/f1'\n[[file]]\npath = '/f2'\n\
         [[node]]\npath = '/n'\ntype = 'fifo'\n[[symlink]]\npath = '/s'\ntarget = 'f1'\n[[dir]]\npath = '/d2'",
    );
    let found: Vec<_> = r.items.iter().map(|item| (item.at.line, item.path.as_slice())).collect();
    assert_eq!(found, [(1, &b"/f1"[..]), (3, b"/d1"), (5, b"/l"), (8, b"/f2"), (10, b"/n"), (13, b"/s"), (16, b"/d2")]);
    // The same in one line.
    let r = recipe("dir = [{ path = '/b' }, { path = '/a' }]\nfile = [{ path = '/d' }, { path = '/c' }]");
    let found: Vec<_> = r.items.iter().map(|item| (item.at.line, item.at.column, item.path.as_slice())).collect();
    assert_eq!(found, [(1, 8, &b"/b"[..]), (1, 25, b"/a"), (2, 9, b"/d"), (2, 26, b"/c")]);
}

#[test]
fn paths_are_clean() {
    for (path, expected) in [
        ("'/'", &b"/"[..]),
        ("'//'", b"/"),
        ("'/a//b/'", b"/a/b"),
        ("'/a/...'", b"/a/..."),
        ("'/\u{e4} \\n'", "/\u{e4} \\n".as_bytes()),
        ("{ bytes = '2f 61 ff' }", b"/a\xff"),
        ("{ bytes = '0x2F612F' }", b"/a"),
    ] {
        assert_eq!(item(&format!("[[dir]]\npath = {path}")).path, expected, "{path}");
    }
    let long = format!("/{0}/{0}", "n".repeat(255));
    assert_eq!(item(&format!("[[file]]\npath = '{long}'")).path, long.as_bytes());
}

#[test]
fn modes_are_octal() {
    for (keys, mode) in [
        ("mode = 0o644", 0o644),
        ("mode = 0", 0),
        ("mode = 0x1ff", 0o777),
        ("mode = '644'", 0o644),
        ("mode = '07777'", 0o7777),
        ("mode = '0o1755'", 0o1755),
    ] {
        assert_eq!(attrs(keys), Attrs { mode: Some(mode), ..Attrs::default() }, "{keys}");
    }
}

#[test]
fn owners_and_times_can_be_given_together_or_one_by_one() {
    assert_eq!(attrs("owner = '1:2'"), Attrs { uid: Some(1), gid: Some(2), ..Attrs::default() });
    assert_eq!(attrs("uid = 4294967295"), Attrs { uid: Some(u32::MAX), ..Attrs::default() });
    assert_eq!(attrs("gid = 7"), Attrs { gid: Some(7), ..Attrs::default() });
    let t = |seconds, nanos| Some(Timestamp { seconds, nanos });
    let all = Attrs { atime: t(5, 0), ctime: t(5, 0), mtime: t(5, 0), crtime: t(5, 0), ..Attrs::default() };
    assert_eq!(attrs("time = 5"), all);
    assert_eq!(attrs("mtime = 6\ntime = 5"), Attrs { mtime: t(6, 0), ..all });
    for (time, expected) in [
        ("2020-01-01T00:00:00Z", t(1_577_836_800, 0)),
        ("2020-01-01 01:00:00.5+01:00", t(1_577_836_800, 500_000_000)),
        ("2019-12-31T19:00-05:00", t(1_577_836_800, 0)),
        ("'2020-01-01T00:00:00.000000001Z'", t(1_577_836_800, 1)),
        ("'@1577836800.5'", t(1_577_836_800, 500_000_000)),
        ("-2147483648", t(Timestamp::MIN_SECONDS, 0)),
        ("15032385535", t(Timestamp::MAX_SECONDS, 0)),
        ("2446-05-10T22:38:55.999999999Z", t(Timestamp::MAX_SECONDS, 999_999_999)),
        ("1901-12-13T20:45:52Z", t(Timestamp::MIN_SECONDS, 0)),
    ] {
        let expected = Attrs { crtime: expected, ..Attrs::default() };
        assert_eq!(attrs(&format!("crtime = {time}")), expected, "{time}");
    }
}

#[test]
fn extended_attributes_are_in_the_form_of_the_system_call() {
    let found = attrs(
        "selinux = 'a:b:c'\nacl = 'u::rwx,g::r-x,o::---'\nxattrs = { 'user.t' = 'x', 'user.h' = { hex = '00 ff' } }",
    );
    let acl = b"\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff\x04\0\x05\0\xff\xff\xff\xff\x20\0\0\0\xff\xff\xff\xff";
    let pair = |name: &str, value: &[u8]| (name.as_bytes().to_vec(), value.to_vec());
    let expected = vec![
        pair("security.selinux", b"a:b:c\0"),
        pair("system.posix_acl_access", acl),
        pair("user.h", b"\0\xff"),
        pair("user.t", b"x"),
    ];
    assert_eq!(found, Attrs { xattrs: expected, ..Attrs::default() });
    let found = attrs("default_acl = 'd:u::rwx,d:g::r-x,d:o::---'\n[dir.xattrs]\n\"trusted.b\" = { base64 = 'AP8=' }");
    let expected = vec![pair("system.posix_acl_default", acl), pair("trusted.b", b"\0\xff")];
    assert_eq!(found, Attrs { xattrs: expected, ..Attrs::default() });
}

/// setfacl and the kernel make the same of an ACL, and what getfacl prints of it is read as the same.
#[test]
fn acls_are_those_of_setfacl() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let oracle = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).current_dir(&dir).output();
        let output = output.unwrap_or_else(|e| panic!("oracle missing: cannot run {program} (package acl): {e}"));
        assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("numbers are printed in ASCII")
    };
    for (key, options, text) in [
        ("acl", "-n", "u::rwx,g::r-x,o::r-x,u:1000:rw-,m::rwx,u:7:--x,g:5:r--"),
        ("acl", "-n", "user::---,user:0:rwx,group::rwx,mask::r--,other::--x"),
        ("acl", "-n", "m::r-x,g:4294967294:rwx,o::---,g::---,u::rw-"),
        ("default_acl", "-nd", "u::rwx,g::r-x,o::---"),
        ("default_acl", "-nd", "u::rwx,u:1:r--,g:1:-w-,g::r-x,m::rwx,o::---"),
    ] {
        std::fs::remove_dir(dir.path().join("d")).ok();
        std::fs::create_dir(dir.path().join("d")).expect("a directory");
        oracle("setfacl", &[options, "--set", text, "d"]);
        let name = format!("system.posix_acl_{}", if key == "acl" { "access" } else { "default" });
        let mut value = [0; 1024];
        let len = rustix::fs::getxattr(dir.path().join("d"), &name, &mut value[..]).expect("the kernel has the ACL");
        let expected = vec![(name.into_bytes(), value[..len].to_vec())];
        assert_eq!(attrs(&format!("{key} = '{text}'")).xattrs, expected, "{text}");
        let printed = oracle("getfacl", &[if key == "acl" { "-na" } else { "-nd" }, "d"]);
        assert_eq!(attrs(&format!("{key} = \"\"\"{printed}\"\"\"")).xattrs, expected, "{printed}");
    }
}

#[test]
fn flags_have_names_and_letters() {
    for (keys, flags) in [
        ("flags = []", InodeFlags::empty()),
        ("flags = ['nodump', 'DAX']", InodeFlags::NODUMP | InodeFlags::DAX),
        (
            "flags = 'SYNC,APPEND | 0x800000'",
            InodeFlags::SYNC | InodeFlags::APPEND | InodeFlags::from_bits_retain(1 << 23),
        ),
        ("chattr = '+xd'", InodeFlags::NODUMP | InodeFlags::DAX),
        ("chattr = 'S'\nflags = 'SECRM'", InodeFlags::SYNC | InodeFlags::SECRM),
    ] {
        assert_eq!(attrs(keys), Attrs { flags, ..Attrs::default() }, "{keys}");
    }
    assert_eq!(attrs("dax = false"), Attrs { dax: Some(false), ..Attrs::default() });
    assert_eq!(attrs("dax = true\nchattr = 'x'").dax, Some(true));
}

#[test]
fn files_have_content() {
    let bytes = |bytes: &[u8]| Content::Bytes(bytes.to_vec());
    let piece = |range, pattern| Piece { range, pattern };
    for (keys, size, content) in [
        ("", None, Content::None),
        ("size = '1M'", Some(M), Content::None),
        ("text = ''", None, bytes(b"")),
        ("text = \"a\\n\"\nsize = 2", Some(2), bytes(b"a\n")),
        ("text = '''\na\n'''\nsize = '1K'", Some(K), bytes(b"a\n")),
        ("hex = 'de ad'", None, bytes(&[0xde, 0xad])),
        ("source = 'x/y'\nsize = 10", Some(10), Content::Host("/r/x/y".into())),
        ("source = '/x'", None, Content::Host("/x".into())),
        ("size = 0\npattern = 'zero'", Some(0), Content::Pieces(vec![])),
        ("pattern = 'random'\nsize = 9", Some(9), Content::Pieces(vec![piece(0..9, Pattern::Random(0))])),
        (
            "size = 9\npattern = { random = 0xffff_ffff_ffff_ffff }",
            Some(9),
            Content::Pieces(vec![piece(0..9, Pattern::Random(u64::MAX))]),
        ),
        ("size = 9\npattern = { byte = 0x5a }", Some(9), Content::Pieces(vec![piece(0..9, Pattern::Byte(0x5a))])),
        (
            "size = 9\npattern.repeat = 'ab'",
            Some(9),
            Content::Pieces(vec![piece(0..9, Pattern::Repeat(b"ab".to_vec()))]),
        ),
        ("data = []", None, Content::Pieces(vec![])),
        (
            "size = '4M'\ndata = [{ len = '1M', pattern = 'text' }, { len = 1, pattern = 'zero' }, { at = '2M+1', pattern = 'offset' }]",
            Some(4 * M),
            Content::Pieces(vec![
                piece(0..M, Pattern::Text),
                piece(M..M + 1, Pattern::Zero),
                piece(2 * M + 1..4 * M, Pattern::Offset),
            ]),
        ),
        (
            "[[file.data]]\nlen = '1K'\npattern = 'zero'\n[[file.data]]\nat = '1K'\nlen = 1\npattern = { byte = 1 }",
            None,
            Content::Pieces(vec![piece(0..K, Pattern::Zero), piece(K..K + 1, Pattern::Byte(1))]),
        ),
        (
            "data = [{ at = '8388607T', len = '1T-1', pattern = 'zero' }]",
            None,
            Content::Pieces(vec![piece(8_388_607 << 40..i64::MAX as u64, Pattern::Zero)]),
        ),
    ] {
        assert_eq!(file(keys), FileItem { size, content, ..FileItem::default() }, "{keys}");
    }
}

#[test]
fn ranges_are_holes_or_unwritten() {
    let found = file("size = '8M'\nholes = ['1M..2M', '3M..']\nunwritten = ['2M..3M']");
    assert_eq!((found.holes, found.unwritten), (vec![M..2 * M, 3 * M..8 * M], vec![2 * M..3 * M]));
    // Behind the end there is room for what is preallocated.
    assert_eq!(file("unwritten = ['0..1M']").unwritten, [0..M]);
    assert_eq!(file("size = '1M'\nunwritten = ['512K..', '1M..2M']").unwritten, [512 * K..M, M..2 * M]);
    assert_eq!(file("text = 'hello'\nholes = ['1..']").holes, [1..5]);
    assert_eq!(file("data = [{ len = '2M', pattern = 'zero' }]\nholes = ['1M ..']").holes, [M..2 * M]);
    // Where a file of the host ends is not known yet.
    assert_eq!(file("source = 'x'\nholes = ['0x1000 .. 2M', '3M..']").holes, [4096..2 * M, 3 * M..u64::MAX]);
}

#[test]
fn files_can_be_placed() {
    let extent = |logical, physical, len, unwritten| PlacedExtent { logical, physical, len, unwritten };
    for (keys, placement, mapping) in [
        ("place = { block = 5120 }", Placement::Block(5120), Mapping::Default),
        ("place = { align = '2M', skew = '4K' }", Placement::Align { align: 2 * M, skew: 4 * K }, Mapping::Default),
        ("place.align = '1G'", Placement::Align { align: 1 << 30, skew: 0 }, Mapping::Default),
        ("fragments = 4", Placement::Fragments { pieces: 4, gap: 1 }, Mapping::Default),
        ("fragments = { pieces = 4, gap = 9 }", Placement::Fragments { pieces: 4, gap: 9 }, Mapping::Default),
        ("tree_depth = 0", Placement::TreeDepth(0), Mapping::Default),
        ("tree_depth = 5\nmapping = 'extents'", Placement::TreeDepth(5), Mapping::Extents),
        ("mapping = 'inline'", Placement::Best, Mapping::Inline),
        ("mapping = 'indirect'\nplace = { block = 0 }", Placement::Block(0), Mapping::Indirect),
        (
            "extents = [{ logical = 0, physical = 6000, len = 10 }, { logical = 10, physical = 5, len = 1, unwritten = true }]",
            Placement::Extents(Box::new([extent(0, 6000, 10, false), extent(10, 5, 1, true)])),
            Mapping::Default,
        ),
        (
            "mapping = 'indirect'\nextents = [{ logical = 0xffff_ffff, physical = 0xffff_ffff_ffff, len = 1 }]",
            Placement::Extents(Box::new([extent(0xffff_ffff, 0xffff_ffff_ffff, 1, false)])),
            Mapping::Indirect,
        ),
    ] {
        assert_eq!(file(keys), FileItem { placement, mapping, ..FileItem::default() }, "{keys}");
    }
}

#[test]
fn directories_can_be_filled() {
    let dir = |keys: &str| match item(&format!("[[dir]]\npath = '/d'\n{keys}")).kind {
        ItemKind::Dir(dir) => dir,
        other => panic!("{other:?}"),
    };
    let entries = DirEntries { count: Some(1000), prefix: b"f".to_vec(), width: 6, kind: Some(Kind::File), size: 0 };
    for (keys, htree_levels, expected) in [
        ("", 0, None),
        ("htree_levels = 3", 3, None),
        ("entries = { count = 1000 }", 0, Some(entries.clone())),
        ("htree_levels = 1\nentries = {}", 1, Some(DirEntries { count: None, ..entries.clone() })),
        (
            "entries = { count = 100, prefix = '\u{e4}', width = 2, kind = 'link', size = '4K' }",
            0,
            Some(DirEntries { count: Some(100), prefix: "\u{e4}".into(), width: 2, kind: None, size: 4 * K }),
        ),
        (
            "entries = { count = 4294967295, prefix = '', width = 10, kind = 'dir' }",
            0,
            Some(DirEntries { count: Some(u32::MAX), prefix: vec![], width: 10, kind: Some(Kind::Dir), size: 0 }),
        ),
    ] {
        assert_eq!(dir(keys), DirItem { htree_levels, entries: expected }, "{keys}");
    }
}

#[test]
fn links_and_nodes_say_what_they_are() {
    for (text, kind) in [
        ("[[symlink]]\npath = '/a'\ntarget = '../x//y/.'", ItemKind::Symlink(b"../x//y/.".to_vec())),
        ("[[symlink]]\npath = '/a'\ntarget = { bytes = 'ff' }", ItemKind::Symlink(vec![0xff])),
        ("[[link]]\npath = '/a'\ntarget = '//b'", ItemKind::Link(b"/b".to_vec())),
        ("[[node]]\npath = '/a'\ntype = 'char'\ndevice = '1:3'", ItemKind::Node(Kind::Char, (1, 3))),
        (
            "[[node]]\npath = '/a'\ntype = 'block'\ndevice = '4095:1048575'",
            ItemKind::Node(Kind::Block, (4095, 1_048_575)),
        ),
        ("[[node]]\npath = '/a'\ntype = 'fifo'", ItemKind::Node(Kind::Fifo, (0, 0))),
        ("[[node]]\npath = '/a'\ntype = 'socket'", ItemKind::Node(Kind::Socket, (0, 0))),
    ] {
        let expected =
            Item { at: At { line: 1, column: 1 }, path: b"/a".to_vec(), attrs: Attrs::default(), kind: kind.clone() };
        assert_eq!(item(text), expected, "{text}");
    }
}

#[test]
fn rules_match_paths() {
    let r = recipe(
        "[[rule]]\nmatch = ['*.sh', '/bin/**']\nkind = 'file'\nmode = 0o755\n[[rule]]\nmatch = '/etc/'\n\
         kind = ['dir', 'symlink', 'char', 'block', 'fifo', 'socket']\nremove_xattrs = ['user.a', 'security.selinux']\ndax = false",
    );
    let [first, second] = &r.rules[..] else { panic!("{:?}", r.rules) };
    for (path, matches) in [("/x/run.sh", true), ("/bin/a/b", true), ("/bin", false), ("/x/run.c", false)] {
        assert_eq!(first.matches.is_match(path), matches, "{path}");
    }
    assert_eq!((first.at, second.at), (At { line: 1, column: 1 }, At { line: 5, column: 1 }));
    assert_eq!((&first.kinds[..], &first.attrs), (&[Kind::File][..], &Attrs { mode: Some(0o755), ..Attrs::default() }));
    assert!(second.matches.is_match("/etc") && !second.matches.is_match("/etc/passwd"));
    assert_eq!(second.kinds, [Kind::Dir, Kind::Symlink, Kind::Char, Kind::Block, Kind::Fifo, Kind::Socket]);
    let remove_xattrs = vec![b"user.a".to_vec(), b"security.selinux".to_vec()];
    assert_eq!(second.attrs, Attrs { remove_xattrs, dax: Some(false), ..Attrs::default() });
}

#[test]
fn defects_change_places() {
    use DefectChange as C;
    let s = str::to_owned;
    for (place, change, expected) in [
        ("super.s_magic", "set = 0xef54", C::Set(s("61268"))),
        ("super.s_magic", "set = '0xef54'", C::Set(s("0xef54"))),
        ("super:3.s_volume_name", "set = 'lost'", C::Set(s("lost"))),
        ("super.s_uuid", "set = 'clear'", C::Set(s("clear"))),
        ("super.s_hash_seed[2]", "xor = 1", C::Xor(s("1"))),
        ("super.s_feature_compat.has_journal", "set = 0", C::Set(s("0"))),
        ("super.s_feature_incompat", "clear = 'filetype extent'", C::Clear(s("filetype extent"))),
        ("super.s_wtime", "set = 20200101", C::Set(s("@20200101"))),
        ("super.s_wtime", "set = '20200101'", C::Set(s("20200101"))),
        ("group.0.bg_block_bitmap", "set = 0xffff_ffff_ffff", C::Set(s("281474976710655"))),
        ("group.3:1.bg_flags", "or = 'INODE_UNINIT'", C::Or(s("INODE_UNINIT"))),
        ("inode.\"/a b\".i_flags", "or = 'DAX|VERITY'", C::Or(s("DAX|VERITY"))),
        ("inode.\"/a\".i_flags.DAX", "xor = 1", C::Xor(s("1"))),
        ("inode:12.mtime", "set = '2020-01-01T00:00:00.5Z'", C::Set(s("2020-01-01T00:00:00.5Z"))),
        ("inode:12.i_block[IND]", "set = 77", C::Set(s("77"))),
        ("inode:12.links_count", "add = -1", C::Add(-1)),
        ("inode:12/extent:0.3.ee_start", "add = 0x7fff_ffff_ffff_ffff", C::Add(i64::MAX)),
        ("inode:12/node.eh_depth", "set = 6", C::Set(s("6"))),
        ("inode:12/map:12.5", "set = 0xffff_ffff", C::Set(s("4294967295"))),
        ("inode:12.xattr.\"user.a\".e_value_size", "set = 9", C::Set(s("9"))),
        ("dir.\"/\".entry.\"a\".inode", "set = 0", C::Set(s("0"))),
        ("dir:2/block:0.det_checksum", "xor = 1", C::Xor(s("1"))),
        ("journal/block:1.h_chksum_type", "set = 'md5'", C::Set(s("md5"))),
        ("mmp.mmp_seq", "set = 1", C::Set(s("1"))),
        ("quota.user/id:0.dqb_curspace", "add = 1", C::Add(1)),
        ("block:100+0x10", "bytes = '00 ff'", C::Bytes(vec![0, 0xff])),
        ("super.s_magic+0x1", "bytes = '00'", C::Bytes(vec![0])),
        ("inode:12/block:0", "bytes = '00'", C::Bytes(vec![0])),
        ("group.0/inode_bitmap", "bit = 524287\nto = true", C::Bit { index: 524_287, to: true }),
        ("group.0/block_bitmap+0x8", "bytes = 'ff'", C::Bytes(vec![0xff])),
    ] {
        let text = format!("[[defect]]\nplace = '{place}'\n{change}\nchecksum = 'stale'\nname = 'n'");
        let defects = recipe(&text).defects;
        let [defect] = &defects[..] else { panic!("{text}") };
        assert_eq!(defect.place.to_string(), place);
        assert_eq!((defect.at, defect.name.as_str()), (At { line: 1, column: 1 }, "n"));
        assert_eq!((&defect.change, defect.checksum), (&expected, Checksum::Stale), "{text}");
    }
    let defects = recipe("[[defect]]\nplace = 'super.s_magic'\nset = 1").defects;
    assert_eq!((defects[0].name.as_str(), defects[0].checksum), ("", Checksum::Seal));
}

#[test]
fn verdicts_are_expected() {
    let verdict = |exit, says: &[&str], blind: Option<&str>| {
        Some(E2fsckVerdict { exit, says: texts(says), blind: blind.map(str::to_owned) })
    };
    for (keys, expected) in [
        ("e2fsck = 0", Expect { e2fsck: verdict(0, &[], None), ..Expect::default() }),
        ("e2fsck = { exit = 12, says = 'x' }", Expect { e2fsck: verdict(12, &["x"], None), ..Expect::default() }),
        (
            "[expect.e2fsck]\nexit = 0\nsays = ['a', 'b']\nblind = 'why'",
            Expect { e2fsck: verdict(0, &["a", "b"], Some("why")), ..Expect::default() },
        ),
        ("dax_fsck = []", Expect { dax_fsck: Some(vec![]), ..Expect::default() }),
        (
            "dax_fsck = ['DAX001', 'DAX017']",
            Expect { dax_fsck: Some(texts(&["DAX001", "DAX017"])), ..Expect::default() },
        ),
        ("mounts = false", Expect { mounts: Some(false), ..Expect::default() }),
    ] {
        assert_eq!(recipe(&format!("[expect]\n{keys}")).expect, expected, "{keys}");
    }
}
