//! The tables a recipe may have and the keys of each, in one list: the parser refuses every other key, suggestions and
//! the reference in `docs/recipes.md` are held against it.

/// A table of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableInfo {
    /// What messages call it: `[[file]]`, `a pattern`.
    pub name: &'static str,
    /// Its own keys.
    pub keys: &'static [&'static str],
    /// A table whose keys it has as well.
    pub shared: Option<&'static TableInfo>,
}

impl TableInfo {
    /// All keys: its own, then the shared ones.
    pub fn all_keys(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().chain(self.shared.map_or(&[][..], |s| s.keys)).copied()
    }
}

const fn table(name: &'static str, keys: &'static [&'static str]) -> TableInfo {
    TableInfo { name, keys, shared: None }
}

const fn with_attributes(name: &'static str, keys: &'static [&'static str]) -> TableInfo {
    TableInfo { name, keys, shared: Some(&ATTRIBUTES) }
}

pub(super) static RECIPE: TableInfo = table(
    "the recipe",
    &["version", "source", "filesystem", "file", "dir", "symlink", "link", "node", "rule", "defect", "expect"],
);

pub(super) static FILESYSTEM: TableInfo = table(
    "[filesystem]",
    &[
        "size",
        "reserve",
        "block_size",
        "cluster_size",
        "type",
        "usage",
        "label",
        "uuid",
        "inodes",
        "inode_ratio",
        "inode_size",
        "reserved_percent",
        "features",
        "extended",
        "journal",
        "flex_bg_size",
        "blocks_per_group",
        "revision",
        "last_mounted",
        "creator_os",
        "errors",
        "page_size",
        "pmem_align",
        "holes",
        "dax",
        "owner",
        "exclude",
        "time",
        "reproducible",
    ],
);

pub(super) static ATTRIBUTES: TableInfo = table(
    "attributes",
    &[
        "mode",
        "owner",
        "uid",
        "gid",
        "time",
        "atime",
        "ctime",
        "mtime",
        "crtime",
        "xattrs",
        "acl",
        "default_acl",
        "selinux",
        "flags",
        "chattr",
        "dax",
    ],
);

pub(super) static FILE: TableInfo = with_attributes(
    "[[file]]",
    &[
        "path",
        "size",
        "text",
        "hex",
        "source",
        "pattern",
        "data",
        "holes",
        "unwritten",
        "place",
        "fragments",
        "tree_depth",
        "extents",
        "mapping",
    ],
);

pub(super) static DIR: TableInfo = with_attributes("[[dir]]", &["path", "htree_levels", "entries"]);
pub(super) static SYMLINK: TableInfo = with_attributes("[[symlink]]", &["path", "target"]);
pub(super) static LINK: TableInfo = table("[[link]]", &["path", "target"]);
pub(super) static NODE: TableInfo = with_attributes("[[node]]", &["path", "type", "device"]);
pub(super) static RULE: TableInfo = with_attributes("[[rule]]", &["match", "kind", "remove_xattrs"]);
pub(super) static DEFECT: TableInfo =
    table("[[defect]]", &["name", "place", "set", "or", "clear", "xor", "add", "bytes", "bit", "to", "checksum"]);
pub(super) static EXPECT: TableInfo = table("[expect]", &["e2fsck", "dax_fsck", "mounts"]);

pub(super) static PATH: TableInfo = table("a path", &["bytes"]);
pub(super) static XATTR_VALUE: TableInfo = table("an attribute's value", &["hex", "base64"]);
pub(super) static PATTERN: TableInfo = table("a pattern", &["byte", "repeat", "random"]);
pub(super) static PIECE: TableInfo = table("a piece of data", &["at", "len", "pattern"]);
pub(super) static PLACE: TableInfo = table("place", &["block", "align", "skew"]);
pub(super) static FRAGMENTS: TableInfo = table("fragments", &["pieces", "gap"]);
pub(super) static EXTENT: TableInfo = table("an extent", &["logical", "physical", "len", "unwritten"]);
pub(super) static ENTRIES: TableInfo = table("entries", &["count", "prefix", "width", "kind", "size"]);
pub(super) static E2FSCK: TableInfo = table("e2fsck", &["exit", "says", "blind"]);

static TABLES: &[&TableInfo] = &[
    &RECIPE,
    &FILESYSTEM,
    &ATTRIBUTES,
    &FILE,
    &DIR,
    &SYMLINK,
    &LINK,
    &NODE,
    &RULE,
    &DEFECT,
    &EXPECT,
    &PATH,
    &XATTR_VALUE,
    &PATTERN,
    &PIECE,
    &PLACE,
    &FRAGMENTS,
    &EXTENT,
    &ENTRIES,
    &E2FSCK,
];

/// Every table of the language with its keys; those that stand in a file by themselves come first.
#[must_use]
pub fn tables() -> &'static [&'static TableInfo] {
    TABLES
}
