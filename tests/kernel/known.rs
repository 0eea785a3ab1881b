//! What changed after the oldest kernel that the newest profile stands for (6.2), as far as it shows in an answer: with the version and
//! the function and commit it was read of, and calls that show it. The random calls run with the version of the kernel of this machine;
//! here each row is walked with both, so that one that is not true any more fails.

use daxkit_format::dax::Kernel;

use crate::call::{Call, Fsx, On, Op, Out};
use crate::pair::{Kind, Pair, running};

struct Row {
    since: Kernel,
    /// Where it was read.
    source: &'static str,
    kind: Kind,
    /// What leads there.
    before: Vec<Op>,
    /// What is answered otherwise.
    then: Op,
    old: Out,
    new: Out,
    /// Whether the emulated kernel knows it; else it answers the old way whatever its version, and random calls keep away from it.
    emulated: bool,
}

const ENOTDIR: Out = Out::Fails(20);
const EINVAL: Out = Out::Fails(22);
const EOPNOTSUPP: Out = Out::Fails(95);
const ENOTTY: Out = Out::Fails(25);

fn path(name: &str) -> String {
    name.to_owned()
}

fn rows() -> Vec<Row> {
    let file = || vec![Op::Open(0, path("/a"), 0o102, 0o644)];
    let unknown = Fsx { xflags: 4, extsize: 0, projid: 0, cowextsize: 0 };
    vec![
        Row {
            since: Kernel(6, 4),
            source: "build_open_flags: \"open: return EINVAL for O_DIRECTORY | O_CREAT\"",
            kind: Kind::Ext4,
            before: Vec::new(),
            then: Op::Open(0, path("/a"), 0o200_102, 0o644),
            old: ENOTDIR,
            new: EINVAL,
            emulated: true,
        },
        Row {
            since: Kernel(6, 17),
            source: "copy_fsxattr_from_user: \"fs: prepare for extending file_get/setattr()\"",
            kind: Kind::Ext4,
            before: file(),
            then: Op::SetFsx(On::Slot(0), unknown),
            old: Out::Done,
            new: EOPNOTSUPP,
            emulated: true,
        },
        Row {
            since: Kernel(6, 17),
            source: "xfs_fileattr_get: \"xfs: allow setting file attributes on special files\"",
            kind: Kind::Xfs,
            before: vec![Op::Mknod(path("/a"), 0o1_0644, 0)],
            then: Op::GetFlags(On::Path(path("/a"))),
            old: ENOTTY,
            new: Out::Number(0),
            emulated: true,
        },
        Row {
            since: Kernel(6, 16),
            source: "generic_perform_write, ext4_da_do_write_end: \"mm/filemap: move prefaulting out of hot write path\"",
            kind: Kind::Ext4,
            before: [file(), vec![Op::WriteFrom(0, 69, 0, 10)]].concat(),
            then: Op::Seek(0, 0, 2),
            old: Out::Number(0),
            new: Out::Number(69),
            emulated: false,
        },
    ]
}

#[test]
fn known_differences_are_those() {
    let running = running();
    for row in rows() {
        for kernel in [Kernel(6, 2), running] {
            let mut pair = Pair::new(row.kind, kernel);
            for op in &row.before {
                let (emulated, host) = pair.ask_anyway(&Call::root(op.clone()));
                assert_eq!(emulated, host, "{}", row.source);
            }
            let (emulated, host) = pair.ask_anyway(&Call::root(row.then.clone()));
            let of = |kernel| if kernel >= row.since { row.new.clone() } else { row.old.clone() };
            assert_eq!(host, of(running), "the kernel: {}", row.source);
            let expected = if row.emulated { of(kernel) } else { row.old.clone() };
            assert_eq!(emulated, expected, "emulated {kernel:?}: {}", row.source);
        }
    }
}
