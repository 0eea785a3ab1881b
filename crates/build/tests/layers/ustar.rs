//! Archives of the test's own making: ustar, names of up to 100 bytes.

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A directory.
    Dir,
    /// A regular file with this content.
    File(Vec<u8>),
    /// A symbolic link with this target.
    Symlink(String),
    /// A hard link to this path.
    Link(String),
}

/// A member. Everything it can be told by follows from its stamp: it is the time, and the owner, and part of the mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) path: String,
    pub(crate) kind: Kind,
    pub(crate) stamp: u32,
}

impl Member {
    pub(crate) fn new(path: &str, kind: Kind, stamp: u32) -> Self {
        Self { path: path.to_owned(), kind, stamp }
    }

    /// Whether it only says that something lies beneath no more.
    pub(crate) fn is_whiteout(&self) -> bool {
        self.path.rsplit('/').next().is_some_and(|name| name.starts_with(".wh."))
    }

    pub(crate) fn mode(&self) -> u32 {
        mode_of(self.stamp)
    }
}

/// The permissions that come with a stamp; never those that a directory gets which nothing describes.
pub(crate) fn mode_of(stamp: u32) -> u32 {
    0o400 + stamp % 0o300
}

/// The archive of these members.
pub(crate) fn archive(members: &[Member]) -> Vec<u8> {
    let mut out = Vec::new();
    for member in members {
        let (kind, target, content) = match &member.kind {
            Kind::Dir => (b'5', "", &[][..]),
            Kind::File(content) => (b'0', "", &content[..]),
            Kind::Symlink(target) => (b'2', target.as_str(), &[][..]),
            Kind::Link(target) => (b'1', target.as_str(), &[][..]),
        };
        let mut header = [0u8; 512];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        assert!(member.path.len() <= 100 && target.len() <= 100, "a short name");
        put(0, member.path.as_bytes());
        put(100, format!("{:07o}\0", member.mode()).as_bytes());
        put(108, format!("{:07o}\0", member.stamp).as_bytes());
        put(116, format!("{:07o}\0", 0).as_bytes());
        put(124, format!("{:011o}\0", content.len()).as_bytes());
        put(136, format!("{:011o}\0", member.stamp).as_bytes());
        put(148, b"        ");
        put(156, &[kind]);
        put(157, target.as_bytes());
        put(257, b"ustar\x0000");
        let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(content);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}
