//! The table of findings: one variant each, which never changes its meaning.

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Legal, but not what somebody would want. It does not change the exit status.
    Advice,
    /// The file system is not what it should be: a mount may work, but it has to be mended.
    Error,
    /// Nothing below this can be judged.
    Fatal,
}

impl Severity {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Advice => "advice",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $id:literal, $severity:ident, $safe:literal, [$($e2:literal),*], $title:literal;)+) => {
        /// What was found. The documentation of each says what must be, how it breaks, and what repair writes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Code {
            /// All of them, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its name on screens and in files, which never changes.
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self { $(Self::$variant => $id),+ }
            }

            /// How much it weighs.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity),+ }
            }

            /// Whether it is mended without a question when only what is safe is to be mended (`-p`).
            #[must_use]
            pub const fn is_safe(self) -> bool {
                match self { $(Self::$variant => $safe),+ }
            }

            /// The numbers of e2fsck's problems (1.47.4) that it stands for.
            #[must_use]
            pub const fn e2fsck(self) -> &'static [u32] {
                match self { $(Self::$variant => &[$($e2),*]),+ }
            }

            /// What is wrong, in one line.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),+ }
            }

            /// What must be, how it breaks, what repair writes.
            #[must_use]
            pub const fn explanation(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc, "\n"),+)),+ }
            }

            /// The one with this name.
            #[must_use]
            pub fn by_id(id: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|code| code.id().eq_ignore_ascii_case(id))
            }
        }
    };
}

codes! {
    // ---- superblock
    /// Byte 1024 holds a superblock with the magic number. It breaks when something writes over the start of the image.
    /// Repair takes a backup, which is looked for by itself, and writes it there.
    SuperMagic = "SUP001", Error, false, [0x000044], "there is no superblock where the primary one belongs";
    /// With metadata_csum the superblock's checksum fits. Repair takes a backup when the fields contradict each other, else seals it.
    SuperChecksum = "SUP002", Error, true, [], "the checksum of the superblock does not fit";
    /// The numbers of the superblock go together: sizes, counts, groups. Repair takes a backup whose numbers do.
    SuperNumbers = "SUP003", Error, false, [0x000004, 0x000007, 0x000008, 0x00000B, 0x000006], "the numbers of the superblock contradict each other";
    /// The file system is not longer than its device. It breaks when an image is cut off: nothing can be done but to copy it anew.
    /// Where the count of inodes is that of the groups there are, the count of blocks is what is wrong: repair writes the blocks of the image.
    /// Where not even the two bitmaps of every group could lie on the image, nothing of it is judged.
    SuperSize = "SUP004", Error, false, [0x000005, 0x00000C], "the file system is longer than the image";
    /// s_inodes_count is the inodes of a group, times the groups. Repair writes that.
    SuperInodesCount = "SUP005", Error, false, [0x00000D, 0x000050], "the count of inodes is not that of the groups";
    /// A file system has a UUID. Repair makes one.
    SuperUuid = "SUP006", Advice, true, [0x000009], "the file system has no UUID";
    /// A revision that has features says so. Repair writes revision 1.
    SuperRevision = "SUP007", Error, true, [0x00001A, 0x010033], "features are set in revision 0";
    /// Reserved descriptor blocks belong to the resize_inode feature. Repair writes 0.
    SuperReservedGdt = "SUP008", Error, true, [0x00002E], "descriptor blocks are reserved without the feature resize_inode";
    /// resize_inode and meta_bg exclude each other. Repair takes resize_inode away.
    SuperResizeMetaBg = "SUP009", Error, false, [0x000051], "resize_inode together with meta_bg";
    /// uninit_bg and metadata_csum exclude each other. Repair takes uninit_bg away.
    SuperTwoChecksums = "SUP010", Error, true, [0x000046], "uninit_bg together with metadata_csum";
    /// metadata_csum_seed needs metadata_csum. Repair takes it away.
    SuperSeedAlone = "SUP011", Error, true, [0x00004B], "metadata_csum_seed without metadata_csum";
    /// 64bit needs extents. Repair sets extent.
    Super64BitAlone = "SUP012", Error, true, [0x000048], "64bit without extents";
    /// s_first_meta_bg lies within the descriptor blocks. Repair writes 0.
    SuperFirstMetaBg = "SUP013", Error, false, [0x000049], "s_first_meta_bg is beyond the descriptors";
    /// s_min_extra_isize fits into the inode. Repair writes what the known fields need.
    SuperMinExtraIsize = "SUP014", Advice, false, [0x00004D], "s_min_extra_isize cannot be";
    /// s_want_extra_isize fits into the inode. Repair writes what the known fields need.
    SuperWantExtraIsize = "SUP015", Advice, false, [0x00004E], "s_want_extra_isize cannot be";
    /// The Hurd has no types in directory entries. Repair takes the feature away.
    SuperHurdFiletype = "SUP016", Advice, false, [0x00000E], "the creator is the Hurd, the feature filetype is set";
    /// Nothing was mounted or written in the future. Repair writes now.
    SuperFuture = "SUP017", Error, true, [0x000031, 0x000032, 0x00003C, 0x00003D], "a time of the superblock lies in the future";
    /// A feature that is not known may mean anything. Nothing is judged, nothing written.
    SuperUnsupported = "SUP019", Fatal, false, [], "a feature is not known";
    /// Free blocks of the superblock are those of the groups. Repair writes the sum.
    SuperFreeBlocks = "SUP020", Error, true, [0x05000F, 0x000040], "the count of free blocks is wrong";
    /// Free inodes of the superblock are those of the groups. Repair writes the sum.
    SuperFreeInodes = "SUP021", Error, true, [0x05000D, 0x00003F], "the count of free inodes is wrong";
    /// Quota files have the inodes reserved for them. Repair writes 0.
    SuperQuotaInode = "SUP022", Error, false, [0x00004F], "the number of a quota file cannot be";
    /// Large files need large_file. Repair sets it.
    SuperLargeFile = "SUP023", Error, true, [0x020033], "a file is larger than 2 GiB without the feature large_file";
    /// More links than 65,000 of a directory need dir_nlink. Repair sets it.
    SuperDirNlink = "SUP025", Error, false, [0x040006], "a directory needs the feature dir_nlink, which is not set";
    /// The state says that errors were seen. Repair clears it when nothing is wrong any more.
    SuperErrorState = "SUP026", Advice, true, [], "the file system is marked as having errors";
    /// The checksum type is known. Repair writes crc32c.
    SuperChecksumType = "SUP028", Error, true, [], "the type of the checksums is not known";

    /// Blocks that files share on purpose can be copied, so that the file system can be written. Repair takes the feature away when none is
    /// shared any more. It is found when that is asked for.
    SuperShared = "SUP029", Advice, false, [], "the feature shared_blocks is set, and nothing is shared";

    // ---- MMP
    /// The MMP block lies inside the file system, where nothing else does. Repair takes mmp away.
    MmpBlock = "MMP001", Error, true, [0x000042], "the MMP block is where it cannot be";
    /// The MMP block has its magic number. Repair writes it as of a clean unmount.
    MmpMagic = "MMP002", Error, true, [0x000043], "the MMP block has no magic number";
    /// The MMP block's checksum fits. Repair seals it.
    MmpChecksum = "MMP003", Error, true, [0x000047], "the checksum of the MMP block does not fit";

    // ---- groups
    /// The block bitmap lies inside the file system, in its group where groups are not joined. Repair moves it.
    GroupBlockBitmap = "GDT001", Error, false, [0x000001, 0x010007, 0x01000A, 0x01001E, 0x010020, 0x010021], "the block bitmap is where it cannot be";
    /// The inode bitmap lies inside the file system, in its group where groups are not joined. Repair moves it.
    GroupInodeBitmap = "GDT002", Error, false, [0x000002, 0x010008, 0x01000B], "the inode bitmap is where it cannot be";
    /// The inode table lies inside the file system, in its group where groups are not joined. Repair takes the place from a backup.
    GroupInodeTable = "GDT003", Error, false, [0x000003, 0x010009, 0x000045], "the inode table is where it cannot be";
    /// The descriptor's checksum fits. Repair seals it and lets nothing of the group count as unused.
    GroupChecksum = "GDT004", Error, true, [0x000035, 0x00003E, 0x060003], "the checksum of the descriptor does not fit";
    /// Groups without checksums have all bitmaps written. Repair clears the flag.
    GroupUninit = "GDT005", Error, true, [0x000036, 0x000037], "a group without a checksum has parts that were never written";
    /// No more inodes are unused than the group has. Repair writes 0.
    GroupItableUnused = "GDT006", Error, true, [0x000038], "more inodes were never used than the group has";
    /// The last group's block bitmap is written, because it has an end. Repair clears the flag.
    GroupUninitLast = "GDT007", Error, true, [0x000039], "the block bitmap of the last group was never written";
    /// Free blocks of a group are those of its bitmap. Repair writes the count.
    GroupFreeBlocks = "GDT008", Error, true, [0x05000E], "the count of free blocks is wrong";
    /// Free inodes of a group are those of its bitmap. Repair writes the count.
    GroupFreeInodes = "GDT009", Error, true, [0x05000B], "the count of free inodes is wrong";
    /// A group counts its directories. Repair writes the count.
    GroupDirs = "GDT010", Error, true, [0x05000C], "the count of directories is wrong";
    /// A group with blocks in use has a bitmap. Repair clears the flag and writes it.
    GroupBlockUninitUsed = "GDT011", Error, true, [0x050018], "blocks are in use in a group whose bitmap was never written";
    /// A group with inodes in use has a bitmap. Repair clears the flag and writes it.
    GroupInodeUninitUsed = "GDT012", Error, true, [0x050019, 0x020046], "inodes are in use in a group whose bitmap was never written";
    /// Inodes in use lie before those that were never used. Repair lowers the count.
    GroupUnusedInUse = "GDT013", Error, true, [0x020047], "an inode is in use among those that were never used";
    /// Two structures never share a block. Repair moves the bitmap.
    GroupConflict = "GDT014", Error, false, [0x010071], "metadata of a group lies on other metadata";

    /// Descriptors can be used. It breaks when the blocks behind the superblock are written over. Repair takes those of a backup.
    GroupTable = "GDT015", Error, false, [0x000045], "the group descriptors cannot be used";

    // ---- journal
    /// The journal is a regular file with a map. Repair takes the journal away, and makes a new one.
    JournalInode = "JNL001", Error, true, [0x00000F, 0x000011, 0x010034, 0x010035], "the journal's inode cannot be used";
    /// The journal's superblock is whole. Repair writes it anew when the rest can be used, else takes the journal away.
    JournalSuper = "JNL002", Error, true, [0x000015, 0x000018, 0x000019, 0x000012], "the journal's superblock cannot be used";
    /// The journal has features that are known. Repair takes the journal away, which loses what is in it.
    JournalUnsupported = "JNL003", Error, false, [0x000014, 0x000025, 0x000026, 0x000027], "the journal has a feature that is not known";
    /// s_journal_inum belongs to has_journal. Repair clears it.
    JournalNoFeature = "JNL004", Error, true, [0x000016], "a journal is named without the feature has_journal";
    /// needs_recovery belongs to has_journal. Repair clears it.
    JournalRecoverAlone = "JNL005", Error, true, [0x000017], "needs_recovery is set without a journal";
    /// What the journal holds is in the file system. Repair replays it.
    JournalPending = "JNL006", Error, true, [0x00002B, 0x00002C], "the journal waits for being replayed";
    /// Every transaction is whole. What comes behind the damage is lost; repair ends the journal there.
    JournalCorrupt = "JNL007", Error, false, [0x00003A], "a transaction of the journal is damaged";
    /// A journal on another device waits. It is replayed where that device is named; without it nothing can be said of what is in it.
    JournalExternal = "JNL009", Error, false, [], "the journal lies on another device";

    // ---- orphans
    /// The list of orphans is a list of inodes in use. Repair cuts it off.
    OrphanList = "ORP001", Error, true, [0x000020, 0x000021, 0x000022, 0x000023, 0x000024, 0x010036, 0x010037], "the list of orphans waits, or is broken";
    /// The orphan file is a regular file without holes whose blocks have magic number and checksum. Repair makes it anew.
    OrphanFile = "ORP002", Error, true, [0x000052, 0x000053, 0x000054, 0x000055, 0x060009, 0x060008, 0x06000A, 0x06000B, 0x06000F, 0x060010, 0x01008F, 0x010090], "the orphan file cannot be used";
    /// The orphan file is empty when nothing is mounted. Repair empties it.
    OrphanDirty = "ORP003", Error, true, [0x06000C, 0x06000D, 0x06000E], "the orphan file is not empty";
    /// An orphan file belongs to a file system with a journal. Repair takes it away.
    OrphanNoJournal = "ORP004", Error, true, [0x060007], "an orphan file without a journal";

    // ---- inodes
    /// With metadata_csum an inode's checksum fits. Repair seals it when everything else is right.
    InodeChecksum = "INO001", Error, true, [0x010068], "the checksum of the inode does not fit";
    /// The root is a directory. Repair makes one.
    RootNotDir = "INO003", Error, false, [0x010001, 0x030001, 0x030014, 0x030015, 0x030012], "the root is not a directory";
    /// An inode in use has no time of deletion. Repair clears it.
    InodeDtime = "INO004", Error, true, [0x010005, 0x010002], "an inode in use has a time of deletion";
    /// An inode that is not in use has a time of deletion. Repair writes now.
    InodeZeroDtime = "INO005", Error, true, [0x010004], "a deleted inode has no time of deletion";
    /// Reserved inodes have no mode but those that hold something. Repair clears the mode.
    InodeReservedMode = "INO006", Error, true, [0x010003], "a reserved inode has a mode";
    /// A mode has a type that there is. Repair clears the inode.
    InodeMode = "INO007", Error, false, [0x020012], "the inode has a type that there is not";
    /// The size fits the blocks. Repair writes what the blocks say.
    InodeSize = "INO008", Error, true, [0x01000C, 0x010032, 0x010043], "the size does not fit the blocks";
    /// i_blocks counts the space. Repair writes the count.
    InodeBlocks = "INO009", Error, true, [0x01000D], "the count of blocks is wrong";
    /// A block number lies inside the file system. Repair takes it out of the map.
    InodeIllegalBlock = "INO010", Error, false, [0x01000E, 0x010010, 0x010012, 0x010013, 0x010046, 0x010045, 0x010044], "the map names a block that there is not";
    /// Blocks of a map do not lie on the file system's own. Repair takes the block out of the map.
    InodeMetadataBlock = "INO011", Error, false, [0x01000F, 0x01007D], "a block of the map lies on the file system's metadata";
    /// More than a few illegal blocks mean that the map is none. Repair clears the inode.
    InodeTooManyBad = "INO012", Error, false, [0x010011], "too many blocks of the map are illegal";
    /// A directory has a size. Repair clears it.
    InodeZeroLengthDir = "INO013", Error, true, [0x010006], "a directory has no blocks";
    /// IMAGIC belongs to imagic_inodes. Repair clears the flag.
    InodeImagic = "INO014", Error, false, [0x01002F], "the flag IMAGIC is set without the feature";
    /// Devices, sockets and fifos are not immutable. Repair clears the flag.
    InodeSpecialImmutable = "INO015", Advice, true, [0x010030], "a special file is immutable or append-only";
    /// i_extra_isize is even and lies within the inode. Repair writes what s_want_extra_isize says.
    InodeExtraIsize = "INO016", Error, true, [0x01004F], "i_extra_isize cannot be";
    /// Extents need the feature. Repair sets it where the tree is one, else clears the inode.
    InodeExtentFeature = "INO017", Error, false, [0x01005B, 0x01005A], "extents are used without the feature";
    /// A map with the head of an extent tree has the flag. Repair sets it.
    InodeExtentFlagMissing = "INO018", Error, true, [0x01005C, 0x010081], "the flag of an extent tree is missing";
    /// Special files and fast symbolic links have neither extents nor inline data. Repair clears the flags.
    InodeSpecialFlags = "INO019", Error, true, [0x010076, 0x01005D], "a special file or short link has the flag of a map";
    /// CASEFOLD is for directories, with the feature. Repair clears the flag.
    InodeCasefold = "INO020", Error, false, [0x010088, 0x010089], "the flag CASEFOLD is where it cannot be";
    /// An encrypted inode has a context. Repair clears the flag where there is none, else the inode.
    InodeEncryption = "INO021", Error, false, [0x01008A, 0x01008B], "an encrypted inode has no context";
    /// Inline data needs the feature. Repair sets it, or clears the inode.
    InlineFeature = "INO022", Error, true, [0x01006F, 0x010070], "inline data without the feature";
    /// Inline data has its attribute. Repair cuts it off.
    InlineNoAttribute = "INO023", Error, false, [0x010075], "inline data without its attribute";
    /// An inode has either extents or inline data. Repair takes the flag away that does not fit.
    InlineAndExtents = "INO024", Error, false, [0x010077, 0x010078, 0x010079, 0x01007A], "extents and inline data together";
    /// A symbolic link's target is as long as its size. Repair clears the inode.
    InodeSymlink = "INO025", Error, false, [0x020031], "the symbolic link has no target of its size";
    /// A device's inode holds a device and no map. Repair clears the inode.
    InodeDevice = "INO026", Error, false, [0x020018, 0x020019, 0x020025, 0x020026], "the special file holds what it cannot";
    /// The obsolete fields are zero. Repair clears them.
    InodeObsolete = "INO027", Error, false, [0x02000D, 0x020010, 0x020011, 0x02000F, 0x020044, 0x020048], "a field that must be zero is not";
    /// i_file_acl names a block inside the file system, with the feature. Repair writes 0.
    InodeFileAcl = "INO028", Error, false, [0x02000E, 0x020032], "the block of attributes cannot be";
    /// An inode that looks like a directory is one. Repair makes it a directory.
    InodeReallyDir = "INO029", Error, false, [0x010055], "a special file holds a directory";
    /// Times lie where they can be said. Repair clears the upper bits.
    InodeTime = "INO030", Error, true, [0x010082], "a time is out of range";
    /// bigalloc has extents alone. Repair clears the inode's map.
    InodeBigallocMap = "INO031", Error, false, [0x010080], "a map of indirect blocks under bigalloc";
    /// A file's blocks lie in their cluster as in the file. Repair copies the file to where they do.
    InodeCluster = "INO032", Error, false, [0x010074, 0x010061], "a block does not lie in its cluster as it does in the file";
    /// Reserved inodes that no feature uses are empty. Repair clears them.
    InodeNotClear = "INO033", Error, true, [0x010063, 0x010064, 0x010062], "a reserved inode that nothing uses is not empty";
    /// Bad blocks are a list of blocks, and none of them holds the list. Repair clears the list.
    BadBlocks = "INO034", Error, false, [0x010065, 0x01007B, 0x01004D, 0x010015, 0x010016, 0x010017, 0x010018, 0x010019, 0x01001C], "the list of bad blocks cannot be";
    /// The resize inode lists the reserved descriptor blocks. Repair makes it anew.
    ResizeInode = "INO035", Error, false, [0x000030, 0x00002F, 0x01004E], "the resize inode is not what it should be";
    /// A file's last link count is not zero when names lead to it. Repair writes the count of names.
    InodeLinks = "INO036", Error, true, [0x040003, 0x040007, 0x040004], "the count of links is wrong";
    /// A file in use has a name. Repair gives it one in lost+found, which grows where it is full.
    InodeUnattached = "INO037", Error, false, [0x040002, 0x030006], "the inode has no name";
    /// An inode without a name, size and blocks is nothing. Repair clears it.
    InodeUnattachedEmpty = "INO038", Error, true, [0x040001], "the inode has no name, and nothing in it";
    /// The size of inline data is that of its attribute. Repair writes it.
    InlineSize = "INO039", Error, true, [0x02004E], "the size is not that of the inline data";
    /// An inode that was flagged as holding an attribute is one that can. Repair clears the flag.
    InodeEaFlag = "INO040", Advice, false, [0x010091, 0x010092, 0x010086, 0x040008], "the flag of an attribute's inode is where it cannot be";

    // ---- extents
    /// A node of an extent tree has a valid header. Repair takes the node out.
    ExtentHeader = "EXT001", Error, false, [0x01005F, 0x010056, 0x01007F], "the header of an extent node is not valid";
    /// With metadata_csum a node's checksum fits. Repair seals it when its entries can be.
    ExtentChecksum = "EXT002", Error, false, [0x01006A], "the checksum of an extent node does not fit";
    /// Extents lie behind one another. Repair takes out those that do not.
    ExtentOrder = "EXT003", Error, false, [0x01005E], "an extent is not behind the one before it";
    /// An extent begins inside the file system. Repair takes it out.
    ExtentStart = "EXT004", Error, false, [0x010058], "an extent begins where it cannot";
    /// An extent ends inside the file system. Repair takes it out.
    ExtentEnd = "EXT005", Error, false, [0x010059], "an extent ends beyond the file system";
    /// An extent has a length. Repair takes it out.
    ExtentEmpty = "EXT006", Error, false, [0x010066], "an extent has no length";
    /// An index names its child's first block. Repair writes that.
    ExtentIndex = "EXT007", Error, false, [0x01006D], "an index does not begin where its child does";
    /// Extents of a node stay within what its parent says. Repair takes out those that do not.
    ExtentBounds = "EXT008", Error, false, [0x01006E], "an extent ends where the next node begins";
    /// A directory's blocks follow each other. Repair moves them together.
    ExtentDirHole = "EXT009", Error, false, [0x010072], "a directory's extents leave a hole";
    /// A directory's blocks are written. Repair marks them so.
    ExtentDirUnwritten = "EXT010", Error, true, [0x010073, 0x010087], "a directory's extent is marked as not written";

    /// A tree has no more nodes than its extents need. Reading is only slower. Repair builds it anew.
    ExtentTree = "EXT011", Advice, false, [0x014006, 0x014007], "an extent tree is deeper or wider than it needs to be";

    // ---- attributes
    /// A block of attributes can be read, and its header is right. Repair takes it from the inode.
    XattrBlock = "XAT001", Error, false, [0x010039, 0x01003A, 0x01003E, 0x01003B, 0x01003D], "the block of attributes cannot be used";
    /// With metadata_csum its checksum fits. Repair seals it when everything else is right.
    XattrChecksum = "XAT002", Error, false, [0x01006C], "the checksum of the block of attributes does not fit";
    /// A block of attributes counts the inodes that use it. Repair writes the count.
    XattrRefcount = "XAT003", Error, false, [0x01003C, 0x011007, 0x02003B], "the count of inodes that share the attributes is wrong";
    /// Names and values lie apart. Repair takes the block away.
    XattrCollision = "XAT004", Error, false, [0x010040], "names or values of attributes lie on each other";
    /// A name is inside the block. Repair takes the block away.
    XattrName = "XAT005", Error, false, [0x010041], "an attribute's name cannot be";
    /// A value is inside the block. Repair takes the block away.
    XattrValue = "XAT006", Error, false, [0x010042], "an attribute's value cannot be";
    /// Attributes in the inode lie within it. Repair takes them out from there on.
    XattrInode = "XAT007", Error, true, [0x010050, 0x010051, 0x010052, 0x010053, 0x010069], "attributes in the inode cannot be";
    /// The hash of an attribute is that of its name and value. Repair writes it.
    XattrHash = "XAT008", Error, true, [0x010054], "the hash of an attribute does not fit";
    /// A value in an inode lies in one that says so, of its size and hash. Repair takes the attribute away.
    XattrEaInode = "XAT009", Error, true, [0x010083, 0x010085], "the inode of an attribute's value cannot be";
    /// An inode that holds a value counts the attributes that use it. Repair writes the count.
    XattrEaRefcount = "XAT010", Error, true, [0x040005], "the count of attributes that use the inode is wrong";

    // ---- multiply-claimed blocks
    /// A block belongs to one. It breaks when the bitmaps were wrong once. Repair copies the blocks for all but one, or frees what the user names.
    BlocksShared = "DUP001", Error, false, [0x013006, 0x013007, 0x010014, 0x013001, 0x013002, 0x013003, 0x013008, 0x011002, 0x011008], "blocks are claimed by several";

    // ---- directories
    /// The entries of a block lead from its start to its end. Repair saves what can be, and fills the rest.
    DirCorrupt = "DIR001", Error, false, [0x020013, 0x02001D], "the block of a directory is damaged";
    /// With metadata_csum a block has a checksum that fits. Repair seals it when its entries are right.
    DirChecksum = "DIR002", Error, true, [0x02004D], "the checksum of a directory's block does not fit";
    /// With metadata_csum a block keeps room for its checksum. Repair makes room.
    DirNoTail = "DIR003", Error, true, [0x02004C], "a directory's block has no room for its checksum";
    /// A directory has no holes. Repair fills them.
    DirHole = "DIR004", Error, false, [0x020015, 0x020022], "a directory has a hole";
    /// The first entry is `.`, and names the directory. Repair writes it.
    DirDot = "DIR005", Error, false, [0x020001, 0x020009, 0x02000B, 0x020016, 0x020024], "the entry . is not what it should be";
    /// The second entry is `..`. Repair writes it.
    DirDotDot = "DIR006", Error, false, [0x02000A, 0x02000C, 0x020017], "the entry .. is not where it should be";
    /// `.` and `..` come once. Repair removes the others.
    DirDuplicateDot = "DIR007", Error, false, [0x02001A, 0x02001B, 0x020004], "a second . or .. in a directory";
    /// An entry names an inode that there is. Repair removes the entry.
    EntryInode = "DIR008", Error, false, [0x020002, 0x020005], "an entry names an inode that cannot be";
    /// An entry names an inode in use. Repair removes the entry.
    EntryUnused = "DIR009", Error, true, [0x020003], "an entry names an inode that is not in use";
    /// A directory has one name. Repair removes the others.
    EntryDirLink = "DIR010", Error, false, [0x020006, 0x020007], "a second name leads to a directory";
    /// A name is one to 255 bytes, without zero and slash. Repair writes dots.
    EntryName = "DIR011", Error, false, [0x020008, 0x020014, 0x020030], "a name holds what no name can";
    /// An entry says the type of its inode. Repair writes it.
    EntryType = "DIR012", Error, true, [0x020028, 0x020029], "an entry says a type that its inode has not";
    /// A name comes once in a directory. Repair renames the others.
    EntryDuplicate = "DIR013", Error, false, [0x020041, 0x020042, 0x020043, 0x020054], "a name comes twice in a directory";
    /// A name of an encrypted directory is as long as a cipher's block. Repair removes the entry.
    EntryEncrypted = "DIR014", Error, false, [0x020050, 0x020051, 0x020052], "an entry does not fit the directory's encryption";
    /// A name of a strict casefolded directory is valid UTF-8. Repair writes dots.
    EntryEncoding = "DIR015", Error, false, [0x020053], "a name is not valid in the file system's encoding";
    /// A block of a directory can be read. Repair makes it an empty one.
    DirUnreadable = "DIR016", Error, false, [0x020020], "a block of a directory cannot be read";
    /// Inline entries fit the inode. Repair cuts them off.
    DirInline = "DIR017", Error, false, [0x02004F], "inline entries of a directory are damaged";

    /// An entry says the type of its inode. Zero says nothing, and lookups are only slower. Repair writes it.
    EntryNoType = "DIR018", Advice, true, [0x020027], "an entry does not say the type of its inode";

    /// No name leads to an inode that holds an attribute's value. Repair removes the entry.
    EntryEaInode = "DIR019", Error, false, [0x020055], "an entry names an inode that holds the value of an attribute";

    // ---- htree
    /// The index flag belongs to dir_index, and to directories. Repair clears it.
    HtreeFlag = "HTR001", Error, true, [0x010047, 0x010048], "the flag of an index is where it cannot be";
    /// The root of an index says what the kernel knows. Repair takes the index away.
    HtreeRoot = "HTR002", Error, true, [0x010049, 0x01004A, 0x01004B, 0x01004C, 0x02003C, 0x01008D, 0x01008E], "the root of the index cannot be used";
    /// Nodes have the limits their block has. Repair takes the index away.
    HtreeNode = "HTR003", Error, true, [0x02003D, 0x02003E, 0x02003F, 0x020040, 0x020045], "a node of the index cannot be used";
    /// With metadata_csum nodes have checksums that fit. Repair takes the index away.
    HtreeChecksum = "HTR004", Error, true, [0x020049, 0x02004A], "the checksum of an index does not fit";
    /// Every block of the directory is in the index once. Repair takes the index away.
    HtreeBlocks = "HTR005", Error, false, [0x020034, 0x020035, 0x02003A, 0x020038], "the index does not lead to every block once";
    /// Hashes of names lie where the index says. Repair takes the index away.
    HtreeHashes = "HTR006", Error, false, [0x020036, 0x020037], "names lie where the index does not look for them";

    // ---- connectivity
    /// Every directory hangs below the root. Repair hangs it into lost+found.
    DirUnconnected = "CON001", Error, false, [0x030003, 0x030008, 0x03001A], "the directory does not hang below the root";
    /// No directory hangs below itself. Repair hangs it into lost+found.
    DirLoop = "CON002", Error, false, [0x03001D], "the directory hangs below itself";
    /// `..` leads to the directory that names it. Repair writes it.
    DirParent = "CON003", Error, false, [0x030005], "the entry .. does not lead to the parent";
    /// There is a lost+found. Repair makes it.
    LostFound = "CON004", Advice, true, [0x030004, 0x030002], "there is no directory lost+found";
    /// lost+found is a directory with blocks of its own. Repair takes its name away and makes a new one.
    LostFoundKind = "CON005", Advice, false, [0x030017, 0x030018, 0x03001B], "lost+found is not such a directory";

    // ---- bitmaps
    /// Blocks in use are set in the bitmap, others are not. Repair writes the bitmap.
    BlockBitmap = "BMP001", Error, true, [0x050004, 0x050005, 0x050006, 0x050014, 0x050015], "the block bitmap differs from the blocks in use";
    /// Inodes in use are set in the bitmap, others are not. Repair writes the bitmap.
    InodeBitmap = "BMP002", Error, true, [0x050008, 0x050009, 0x05000A, 0x050016, 0x050017], "the inode bitmap differs from the inodes in use";
    /// Bits behind the last block are set. Repair sets them.
    BlockPadding = "BMP003", Error, true, [0x050002], "bits behind the end of the block bitmap are not set";
    /// Bits behind the last inode are set. Repair sets them.
    InodePadding = "BMP004", Error, true, [0x050001], "bits behind the end of the inode bitmap are not set";
    /// With metadata_csum the block bitmap's checksum fits. Repair seals it.
    BlockBitmapChecksum = "BMP005", Error, true, [0x05001B], "the checksum of the block bitmap does not fit";
    /// With metadata_csum the inode bitmap's checksum fits. Repair seals it.
    InodeBitmapChecksum = "BMP006", Error, true, [0x05001A], "the checksum of the inode bitmap does not fit";
    /// Bitmaps can be read. Repair writes them.
    BitmapUnreadable = "BMP007", Error, false, [], "a bitmap cannot be read";

    // ---- quota
    /// A quota file is whole. Repair makes it anew from what is used.
    QuotaFile = "QTA001", Error, true, [0x060006], "the quota file is damaged";
    /// Quota counts what is used. Repair writes it.
    QuotaUsage = "QTA002", Error, true, [0x060002], "the quota of an owner is not what he uses";
    /// Quota files are named by their feature alone. Repair hides them.
    QuotaFeature = "QTA003", Error, true, [0x000041], "quota files are named without the feature quota";
    /// A quota file is as long as the blocks that it counts: of one whose last block is cut e2fsck reads what there is, and the kernel
    /// turns no quota on. Repair writes the size.
    QuotaCut = "QTA004", Error, true, [], "the last block of the quota file is cut";

    // ---- DAX
    /// Only regular files and directories can have the DAX flag. It breaks when flags are set by hand. Repair clears it when asked to.
    DaxType = "DAX001", Advice, false, [], "the DAX flag is on a type that cannot hold it";
    /// The DAX flag excludes journalled data, verity, encryption and inline data; one ioctl can set it together with journalled data. The file is not
    /// accessed directly. Which of the flags goes is for the user to say.
    DaxExcluded = "DAX002", Advice, false, [], "the DAX flag together with a flag that excludes it";
    /// Files are accessed directly only where blocks have the size of a page. Another image has to be made.
    DaxBlockSize = "DAX003", Advice, false, [], "the block size rules DAX out";
    /// Journalled data rules DAX out. The default mount option can be changed.
    DaxDataJournal = "DAX004", Advice, false, [], "the default mount option data=journal rules DAX out";
    /// A mount with dax=always is refused where files may hold inline data.
    DaxInlineFeature = "DAX005", Advice, false, [], "the feature inline_data rules dax=always out";
    /// A child made in a directory with the flag has it. One that was moved there, or whose flag was cleared, has not.
    DaxNotInherited = "DAX006", Advice, false, [], "the DAX flag of the directory is not on its child";
    /// A child made in a directory without the flag has none. One that was moved there, or whose flag was set, has.
    DaxNotFromDir = "DAX007", Advice, false, [], "the DAX flag is on a child of a directory without it";
    /// Every whole window of 2 MiB of a file can be mapped by one fault. It cannot where blocks are apart, not aligned, not written or not there.
    DaxNotMappable = "DAX008", Advice, false, [], "not every window of 2 MiB can be mapped by one fault";
    /// The file system begins at a multiple of 2 MiB of the persistent memory. Elsewhere no window can be mapped.
    DaxDataOffset = "DAX009", Advice, false, [], "the file system does not begin at a multiple of 2 MiB";
    /// A persistent memory device is a multiple of 2 MiB long. virtio-pmem refuses an image that is not.
    DaxImageLength = "DAX010", Advice, false, [], "the length of the image is not a multiple of 2 MiB";

    // ---- host
    /// Every block can be read. Nothing is written over what cannot.
    Unreadable = "IOE001", Error, false, [0x010028, 0x02001F, 0x010029], "a part of the image cannot be read";
}

#[cfg(test)]
mod tests {
    use super::Code;
    use std::collections::HashSet;

    #[test]
    fn names_come_once_and_lead_back() {
        let names: HashSet<&str> = Code::ALL.iter().map(|code| code.id()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            assert_eq!(Code::by_id(code.id()), Some(*code));
            assert!(!code.explanation().trim().is_empty() && !code.title().is_empty());
        }
    }
}
